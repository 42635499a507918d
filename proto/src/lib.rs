//! The wire protocol `amends.v1`: messages, client and server stubs, generated from `amends/v1/*.proto` at build time.
//! Nothing is written by hand here, and nothing converts: that is done beside the code that needs it.

/// Version 1 of the protocol.
pub mod v1 {
    #![allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
    tonic::include_proto!("amends.v1");
}

/// The encoded `google.protobuf.FileDescriptorSet` of the protocol, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/amends_v1.fds"));

/// The version of the participant protocol that these stubs speak.
pub const PROTOCOL_VERSION: u32 = 1;
