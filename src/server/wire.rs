//! The generated protocol: messages, clients and servers of `proto/`, and the descriptors that reflection serves.

/// Package `otklik.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("otklik.v1");
}

/// The compiled `proto/` with everything it imports: an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/otklik_descriptor.bin"));
