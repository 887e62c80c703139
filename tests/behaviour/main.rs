//! What Relay does, seen from outside: real server processes, real clients, one module a behaviour.

mod support;

mod streams;
