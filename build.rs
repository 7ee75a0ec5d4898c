//! Compiles the protocol buffers of `proto/` into Rust and into the descriptor set that reflection serves, and lists the prompts of
//! `prompts/`.
//!
//! The compiler is a Rust library, so that a build needs no program beside cargo.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use protox::prost::Message;

/// What the service speaks. The error details are here for reflection alone: clients look them up to show them.
const FILES: [&str; 9] = [
    "otklik/v1/feedback.proto",
    "otklik/v1/tags.proto",
    "otklik/v1/tagging_service.proto",
    "otklik/v1/case_service.proto",
    "otklik/v1/assist_service.proto",
    "otklik/v1/prompt_service.proto",
    "otklik/v1/retag_service.proto",
    "otklik/v1/taxonomy_service.proto",
    "google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors.clone())?;
    // Comments are for readers of the source; on the wire they would be most of the weight.
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    std::fs::write(out.join("otklik_descriptor.bin"), descriptors.encode_to_vec())?;
    list_prompts(&out)
}

/// Writes the list of the prompts that are built in, so that a new file needs no code.
fn list_prompts(out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=prompts");
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("prompts");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let name = entry?.file_name().into_string().map_err(|name| format!("{name:?} is not Unicode"))?;
        if name.ends_with(".md") && name != "README.md" {
            files.push(name);
        }
    }
    files.sort();
    let mut list = String::from("&[\n");
    for name in files {
        let path = folder.join(&name);
        println!("cargo:rerun-if-changed={}", path.display());
        writeln!(list, "    ({name:?}, include_str!({:?})),", path.display().to_string())?;
    }
    list.push_str("]\n");
    std::fs::write(out.join("prompts.rs"), list)?;
    Ok(())
}
