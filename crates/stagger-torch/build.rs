//! With feature `torch`: compiles the C++ shim against libtorch, and tells the packages that link binaries where it is.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "torch")]
    torch::build();
}

#[cfg(feature = "torch")]
mod torch {
    use std::path::{Path, PathBuf};

    const SHIM: &str = "src/shim";

    pub fn build() {
        println!("cargo::rerun-if-changed={SHIM}");
        // torch-sys has looked for libtorch, at LIBTORCH and elsewhere; this is what it found.
        let lib = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
        let Some(lib) = lib.filter(|lib| lib.join("libtorch_cpu.so").exists()) else {
            println!(
                "cargo::error=libtorch is not in the folder that LIBTORCH names; run `scripts/libtorch` at the root \
                 of the repository, or set LIBTORCH to a libtorch 2.11.0 of your own"
            );
            return;
        };
        println!("cargo::rerun-if-changed={}", lib.display());
        compile(&lib.with_file_name("include"));

        println!("cargo::rustc-link-search=native={}", lib.display());
        for library in ["torch_cpu", "c10", "gomp"] {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
        let argument = link_argument(&lib);
        println!("cargo::rustc-link-arg={argument}");
        // Link arguments reach only the targets of the package that prints them; others print this one again.
        println!("cargo::metadata=link_arg={argument}");
    }

    /// Lets binaries find libtorch where it is now, and keeps its CUDA part, which registers itself when it is loaded
    /// and which nothing refers to by name.
    fn link_argument(lib: &Path) -> String {
        let rpath = format!("-Wl,-rpath,{}", lib.display());
        let cuda = lib.join("libtorch_cuda.so");
        if cuda.exists() {
            format!("{rpath},--no-as-needed,{},--as-needed", cuda.display())
        } else {
            rpath
        }
    }

    fn compile(include: &Path) {
        let sources = std::fs::read_dir(SHIM).into_iter().flatten().flatten();
        let sources = sources.map(|entry| entry.path());
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .opt_level(3)
            .flag("-fopenmp")
            .define("_GLIBCXX_USE_CXX11_ABI", "1")
            // `-isystem`: warnings in libtorch's headers are not ours to settle.
            .flag("-isystem")
            .flag(include)
            .files(
                sources.filter(|path| path.extension().is_some_and(|extension| extension == "cpp")),
            )
            .compile("stagger_torch_shim");
    }
}
