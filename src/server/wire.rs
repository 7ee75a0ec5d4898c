//! The generated protocol: messages, clients and servers of `proto/`, and the descriptors that reflection serves.

use prost::Message;

/// Package `otklik.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("otklik.v1");
}

/// The compiled `proto/` with everything it imports: an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/otklik_descriptor.bin"));

/// Every RPC of ours, as in `otklik.v1.TaggingService/Classify`.
pub(super) fn rpcs() -> Vec<String> {
    // The descriptors are made by the build; such that can't be read name no RPC, and reflection refuses to start with them.
    let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let ours = set.file.iter().filter(|file| file.package().starts_with("otklik."));
    ours.flat_map(|file| {
        file.service.iter().flat_map(|service| {
            service.method.iter().map(|method| format!("{}.{}/{}", file.package(), service.name(), method.name()))
        })
    })
    .collect()
}
