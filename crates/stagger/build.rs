//! Lets the tests find libtorch, where engine `torch` is built in.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(argument) = std::env::var("DEP_STAGGER_TORCH_LINK_ARG") {
        println!("cargo::rustc-link-arg={argument}");
    }
}
