//! Where a database is, in words that can be shown, and what to do when something fails there.

use rustls::CertificateError;
use sqlx::postgres::PgConnectOptions;

use crate::db::OpenError;

/// A database as its messages name it: without a password.
pub(super) struct Place {
    setting: &'static str,
    name: String,
}

impl Place {
    /// The place that the setting called `setting` leads to.
    pub(super) fn of(setting: &'static str, options: &PgConnectOptions) -> Self {
        let (user, host, port) = (options.get_username(), options.get_host(), options.get_port());
        let host = options.get_socket().map_or_else(|| host.to_owned(), |socket| socket.display().to_string());
        let database = options.get_database().unwrap_or(user);
        let what = if setting == super::REPLICA { "the replica" } else { "the database" };
        Self { setting, name: format!("{what} {database} at {host}:{port} (as {user})") }
    }

    pub(super) fn say(&self, what: &str) -> OpenError {
        OpenError(format!("{} {what}", self.name))
    }

    /// Says what failed, and what to do about it.
    pub(super) fn explain(&self, failed: &str, error: &sqlx::Error) -> OpenError {
        OpenError(format!("{failed} {}: {error}: {}", self.name, self.advice(error)))
    }

    fn advice(&self, error: &sqlx::Error) -> String {
        let setting = self.setting;
        match error {
            sqlx::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => untrusted(error),
                None => format!("is it running, and does {setting} name its host and port?"),
            },
            sqlx::Error::Tls(error) if error.to_string().contains("does not support TLS") => {
                format!("set ssl = on there, or ask for less: sslmode=disable in {setting}")
            }
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => {
                format!("sslrootcert, sslcert and sslkey in {setting} name files with PEM text")
            }
            sqlx::Error::Database(error) => match error.code().as_deref() {
                Some("28P01") => format!("{setting} needs a user and a password that it accepts"),
                Some("28000") => format!(
                    "its pg_hba.conf does not let this user in like that: {setting} may need another user or password, \
                     sslmode=require, or a certificate (sslcert and sslkey)"
                ),
                Some("3F000") => {
                    "create the schema that its search_path names, and grant the user CREATE and USAGE on it".into()
                }
                Some("3D000") => format!("create it (CREATE DATABASE), or name another in {setting}"),
                Some("42501") => {
                    "grant the user CONNECT and CREATE on the database, and CREATE and USAGE on its schema; or \
                                  run `relay migrate` as the owner of the tables, and grant the user SELECT, INSERT, \
                                  UPDATE and DELETE on them"
                        .into()
                }
                Some("53300") => "all its connections are taken: raise its max_connections, or lower \
                                  database.read_connections and database.write_connections"
                    .into(),
                Some("57P03") => "it is starting or stopping; try again in a moment".into(),
                _ => "see its log".into(),
            },
            _ => "see its log".into(),
        }
    }
}

/// What to do about a TLS handshake that failed.
fn untrusted(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another host: name the host as the certificate does, or do without that check \
              (sslmode=verify-ca)"
            .into(),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "renew its certificate".into()
        }
        rustls::Error::InvalidCertificate(_) => {
            "its certificate is not trusted: give the certificate of the authority \
                                                 that signed it as sslrootcert=FILE"
                .into()
        }
        rustls::Error::AlertReceived(_) => {
            "it does not take this side's certificate: see sslcert and sslkey, and its log".into()
        }
        _ => "it and Relay agree on no TLS; Relay speaks 1.2 and 1.3".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    #[test]
    fn a_place_has_no_password() {
        let options = PgConnectOptions::from_str("postgres://ana:hunter2@db.example:5433/chat").unwrap();
        assert_eq!(Place::of("database.url", &options).name, "the database chat at db.example:5433 (as ana)");
    }
}
