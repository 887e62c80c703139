//! Compiles the `.proto` files with protox, so that nobody has to install protoc.

use std::{env, error::Error, path::PathBuf};

use prost::Message as _;
use tonic_prost_build::FileDescriptorSet;

const FILES: [&str; 4] = [
    "relay/chat/v1/chat_service.proto",
    "relay/chat/v1/moderation_service.proto",
    "relay/chat/v1/presence_service.proto",
    "relay/chat/v1/room_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=relay");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true);
    for file in FILES {
        compiler.open_file(file)?;
    }
    let mut contract = FileDescriptorSet::decode(compiler.encode_file_descriptor_set().as_slice())?;
    std::fs::write(out.join("contract.binpb"), contract.encode_to_vec())?;
    // Without `connect(url)` on the clients: the method Connect has that name. They are made from a channel.
    tonic_prost_build::configure().build_server(false).build_transport(false).compile_fds(contract.clone())?;

    // The server answers the streaming methods below tonic, with frames that are encoded once for all sessions, so its
    // generated trait has only the unary ones.
    for service in contract.file.iter_mut().flat_map(|file| file.service.iter_mut()) {
        service.method.retain(|method| !method.server_streaming());
    }
    let unary = out.join("unary");
    std::fs::create_dir_all(&unary)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .extern_path(".relay.chat.v1", "crate::chat::v1")
        .extern_path(".relay.error.v1", "crate::error::v1")
        .out_dir(unary)
        .compile_fds(contract)?;
    Ok(())
}
