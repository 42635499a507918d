//! Generates the stubs from the `.proto` files in pure Rust: protoc is never looked for.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let files = [
        "amends/v1/definition_service.proto",
        "amends/v1/saga_service.proto",
        "amends/v1/operator_service.proto",
        "amends/v1/participant_service.proto",
    ];
    let descriptors = protox::compile(files, ["."])?;
    std::fs::write(out.join("amends_v1.fds"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=amends");
    Ok(())
}
