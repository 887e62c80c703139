//! What the bus promises, by behaviour, against real Redis servers, which each test starts for itself. One file a topic.

mod deafness;
mod delivery;
mod forms;
mod kept;
mod limits;
mod local;
mod opening;
mod outages;
mod support;
