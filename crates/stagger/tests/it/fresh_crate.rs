//! The program in README, as a crate of its own outside the workspace.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The only block of Rust under README's heading "From Rust".
fn program() -> String {
    let page = fs::read_to_string(workspace().join("README.md")).expect("README");
    let (_, section) = page.split_once("\n## From Rust\n").expect("the heading");
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let (_, after) = section.split_once("```rust\n").expect("a block of Rust");
    let (program, rest) = after.split_once("```").expect("its end");
    assert!(!rest.contains("```rust"), "one program");
    program.to_owned()
}

/// The profiles of the workspace, so that what is built of other crates is of use here.
fn profiles() -> String {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).expect("a manifest");
    let at = manifest.find("\n[profile.").expect("profiles");
    manifest[at..].to_owned()
}

#[test]
fn the_program_in_the_readme_compiles_and_trains() {
    let program = program();
    assert!(program.lines().count() <= 15, "{program}");
    let folder = tempfile::tempdir().expect("a folder");
    let library = fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("this crate");
    let manifest = format!(
        "[package]\nname = \"fresh\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nstagger = {{ path = {library:?} }}\n\n[workspace]\n{}",
        profiles()
    );
    fs::write(folder.path().join("Cargo.toml"), manifest).expect("a manifest");
    fs::create_dir(folder.path().join("src")).expect("a folder");
    fs::write(folder.path().join("src/main.rs"), program).expect("a program");
    // The versions that everything else here is built with.
    let lock = workspace().join("Cargo.lock");
    fs::copy(lock, folder.path().join("Cargo.lock")).expect("a lock file");

    // TARGET/PROFILE/deps/it-HASH
    let this = env::current_exe().expect("this program");
    let target = this.ancestors().nth(3).expect("a target folder");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .args(["run", "--offline", "--target-dir"])
        .arg(target)
        .current_dir(&folder)
        .env_remove("RUSTFLAGS");
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("\nepoch 1/1 · loss "), "{stdout}");
    let last = stdout.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("resnet8 on shapes, dsp(1,0;2,0): version 157, loss "),
        "{stdout}"
    );
    // Neither flags nor anything else of a command line comes with the library.
    let lock = fs::read_to_string(folder.path().join("Cargo.lock")).expect("a lock file");
    for unwanted in ["clap", "signal-hook", "anyhow", "burn-flex"] {
        assert!(
            !lock.contains(&format!("name = \"{unwanted}\"")),
            "{unwanted}"
        );
    }
}
