//! Generates the stubs from the `.proto` files in pure Rust: protoc is never looked for.

use prost::Message as _;
use protox::Compiler;
use protox::file::{
    ChainFileResolver, DescriptorSetFileResolver, GoogleFileResolver, IncludeFileResolver,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let files = [
        "amends/v1/definition_service.proto",
        "amends/v1/saga_service.proto",
        "amends/v1/operator_service.proto",
        "amends/v1/participant_service.proto",
    ];
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(".".into()));
    resolver.add(GoogleFileResolver::new());
    resolver.add(google_rpc()?);
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    let descriptors = compiler.open_files(files)?.file_descriptor_set();
    std::fs::write(out.join("amends_v1.fds"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=amends");
    Ok(())
}

/// `google/rpc/status.proto` comes with the crate that has its Rust types, there without its folder.
fn google_rpc() -> Result<DescriptorSetFileResolver, prost::DecodeError> {
    let mut set = prost_types::FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?;
    for file in &mut set.file {
        if file.package() == "google.rpc" {
            file.name = Some(format!("google/rpc/{}", file.name()));
        }
    }
    Ok(DescriptorSetFileResolver::new(set))
}
