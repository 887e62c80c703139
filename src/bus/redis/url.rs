//! The forms of a URL: one server, Sentinels, a cluster; each with TLS or without.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo, TlsMode};

/// What a URL says, ready to be connected to. Shown without the password.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) kind: Kind,
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: i64,
}

/// Which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `redis://`
    Single,
    /// `redis+sentinel://`, with the name of the master.
    Sentinel(String),
    /// `redis+cluster://`
    Cluster,
}

/// What forms there are, for whoever gave another.
pub(super) const FORMS: &str = "takes redis://USER:PASSWORD@HOST:6379/DB, redis+sentinel://USER:PASSWORD@HOST:26379,HOST/MASTER/DB \
     or redis+cluster://USER:PASSWORD@HOST:6379,HOST; rediss instead of redis for TLS";

impl Address {
    /// Reads a URL; `None` if it has none of the forms.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (base, form) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match base {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, password, hosts) = credentials(authority)?;
        let (kind, database, default_port) = match form {
            "" => (Kind::Single, path, 6379),
            "cluster" => (Kind::Cluster, path, 6379),
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                (Kind::Sentinel(Some(master).filter(|m| !m.is_empty())?.to_owned()), database, 26_379)
            }
            _ => return None,
        };
        let database = if database.is_empty() { 0 } else { database.parse().ok().filter(|db| *db >= 0)? };
        let hosts: Vec<_> = hosts.split(',').map(|host| host_and_port(host, default_port)).collect::<Option<_>>()?;
        let fits = match kind {
            Kind::Single => hosts.len() == 1,
            Kind::Sentinel(_) => true,
            Kind::Cluster => database == 0,
        };
        fits.then_some(Self { kind, hosts, tls, user, password, database })
    }

    /// Each host as the library takes it.
    pub(super) fn infos(&self) -> Vec<ConnectionInfo> {
        let mut settings = RedisConnectionInfo::default().set_db(self.database).set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        let info =
            |address: ConnectionAddr| Some(address.into_connection_info().ok()?.set_redis_settings(settings.clone()));
        self.addresses().into_iter().filter_map(info).collect()
    }

    /// Each host, without what to say there.
    pub(super) fn addresses(&self) -> Vec<ConnectionAddr> {
        let address = |(host, port): &(String, u16)| match self.tls {
            true => ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host.clone(), *port),
        };
        self.hosts.iter().map(address).collect()
    }

    pub(super) fn tls_mode(&self) -> Option<TlsMode> {
        self.tls.then_some(TlsMode::Secure)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        match &self.kind {
            Kind::Single => write!(f, "redis at {}", hosts.join(",")),
            Kind::Sentinel(master) => write!(f, "the redis that the Sentinels at {} call {master}", hosts.join(",")),
            Kind::Cluster => write!(f, "the redis cluster at {}", hosts.join(",")),
        }
    }
}

/// User, password and hosts. What is percent-encoded is decoded.
fn credentials(authority: &str) -> Option<(Option<String>, Option<String>, &str)> {
    let Some((credentials, hosts)) = authority.rsplit_once('@') else { return Some((None, None, authority)) };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(|t| t.into_owned());
    let some = |text: String| Some(text).filter(|t| !t.is_empty());
    Some((some(decode(user)?), some(decode(password)?), hosts))
}

fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address stands in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Option<(Kind, String, bool, Option<String>, i64)> {
        let address = Address::parse(url)?;
        let hosts: Vec<String> = address.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        Some((address.kind, hosts.join(" "), address.tls, address.password, address.database))
    }

    #[test]
    fn the_three_forms_are_read() {
        assert_eq!(read("redis://h"), Some((Kind::Single, "h:6379".into(), false, None, 0)));
        assert_eq!(
            read("rediss://u:p%40ss@h.example:1/2"),
            Some((Kind::Single, "h.example:1".into(), true, Some("p@ss".into()), 2))
        );
        assert_eq!(read("redis://[::1]:7/"), Some((Kind::Single, "::1:7".into(), false, None, 0)));
        assert_eq!(
            read("redis+sentinel://:pw@a:1,b/main/3"),
            Some((Kind::Sentinel("main".into()), "a:1 b:26379".into(), false, Some("pw".into()), 3))
        );
        assert_eq!(read("rediss+cluster://a,b:2"), Some((Kind::Cluster, "a:6379 b:2".into(), true, None, 0)));
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in [
            "",
            "h:6379",
            "http://h",
            "redis://",
            "redis://h:x",
            "redis://a,b",
            "redis://h/x",
            "redis://h/-1",
            "redis+sentinel://h",
            "redis+cluster://h/1",
            "redis+other://h",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_shown_without_secrets() {
        let shown = Address::parse("redis://ana:hunter2@h").unwrap().to_string();
        assert_eq!(shown, "redis at h:6379");
    }
}
