//! Everything that knows the wire: the listener, credentials, statuses, one thin file a service.
//!
//! | file       | job                                                                      |
//! |------------|--------------------------------------------------------------------------|
//! | `listener` | connections: limits, keepalive, HTTP/1.1 and HTTP/2 on one port          |
//! | `patience` | connections that say nothing end                                         |
//! | `router`   | which path goes where                                                    |
//! | `gate`     | every call: who calls, is it allowed, how long may it take, how did it end |
//! | `access`   | the policy table: what each method asks of its caller                    |
//! | `status`   | the domain's errors as statuses, and back                                |
//! | `stream`   | Connect and Subscribe: frames that are encoded once, sent as they are    |
//! | `call`     | what every unary method does first and last                              |
//! | `chat`, `rooms`, `presence` | one thin function a unary method                                    |
//! | `convert`  | the wire's types to the domain's, and back                               |
//! | `http`     | /health, /ready, /metrics                                                |

mod access;
mod call;
mod chat;
mod convert;
mod gate;
mod http;
mod listener;
mod moderation;
mod patience;
mod presence;
mod rooms;
mod router;
mod status;
mod stream;

pub use convert::WireEncoder;
pub use listener::{Listener, ListenerOptions};
pub use router::{Services, cors, router};
pub use status::to_status;
