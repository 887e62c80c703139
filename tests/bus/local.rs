//! The bus of a node that is alone.

use bytes::Bytes;
use relay::bus::{Bus as _, Health, LocalBus};

#[tokio::test]
async fn a_node_that_is_alone_tells_nobody_and_keeps_nothing() {
    let bus = LocalBus::Alone;
    bus.watch("room".into());
    bus.publish(&"room".into(), Bytes::from_static(b"x"), true);
    assert!(bus.recent(&"room".into()).await.unwrap().is_empty());
    assert_eq!(bus.health(), Health::Alone);
    assert!(bus.health().delivers());
}
