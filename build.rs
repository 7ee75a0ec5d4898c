//! Compiles the protocol buffers of `proto/` into Rust and into the descriptor set that reflection serves.
//!
//! The compiler is a Rust library, so that a build needs no program beside cargo.

use std::error::Error;
use std::path::PathBuf;

use protox::prost::Message;

/// What the service speaks. The error details are here for reflection alone: clients look them up to show them.
const FILES: [&str; 6] = [
    "otklik/v1/feedback.proto",
    "otklik/v1/tags.proto",
    "otklik/v1/tagging_service.proto",
    "otklik/v1/case_service.proto",
    "otklik/v1/assist_service.proto",
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
    Ok(())
}
