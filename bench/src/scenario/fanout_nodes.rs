//! Fan-out over two nodes: Relay, and Socket.IO with its Redis adapter, in one run.

use super::fanout::{Names, subject};
use crate::{
    args::Args,
    error::Error,
    report::Report,
    services::{Postgres, Redis},
    subject::{Cluster, SocketIo},
};

/// How many nodes each has.
const NODES: usize = 2;
const NAMES: Names = Names { paced: "fanout_nodes_paced", saturated: "fanout_nodes_saturated" };

/// Runs both loads on both. Half of the subscribers are on each node, the publisher is on the first.
pub(super) async fn run(
    services: (&Postgres, &Redis),
    cluster: Option<Cluster>,
    args: &Args,
    report: &mut Report,
) -> Result<(), Error> {
    if let Some(cluster) = cluster {
        cluster.node(0)?.fill_room(args.subscribers).await?;
        subject(cluster, &NAMES, args, report).await?;
    }
    match SocketIo::installed() {
        Some(folder) => {
            let log = args.out.with_file_name("socketio.log");
            subject(SocketIo::start(&folder, &log, services, NODES).await?, &NAMES, args, report).await?;
        }
        None => report.leave_out("Socket.IO", "its packages are not there: npm ci in bench/peers/socketio")?,
    }
    report.print_beside(NAMES.paced, "socketio")?;
    report.print_beside(NAMES.saturated, "socketio")
}
