//! Where Redis is: the three forms of `redis.url`.

use std::fmt;

use secrecy::SecretString;

/// The forms, for whoever wrote one that cannot be read.
pub(super) const FORMS: &str = "it takes redis://USER:PASSWORD@HOST:6379/DB for one server, \
    redis+sentinel://USER:PASSWORD@HOST:26379,HOST:26379/MASTER/DB for Sentinels, or \
    redis+cluster://USER:PASSWORD@HOST:6379,HOST:6379 for a cluster; rediss in place of redis is with TLS, and a \
    password's special characters are written as %XX";

/// What a URL says.
pub(super) struct Target {
    pub(super) form: Form,
    pub(super) access: Access,
}

/// What runs there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    Single(Place),
    Sentinel { sentinels: Vec<Place>, master: String },
    Cluster(Vec<Place>),
}

/// How to get in, the same at every server.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) db: i64,
}

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Target {
    /// Reads a URL. The error says what is wrong with it, and repeats nothing of it.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no ://")?;
        let (kind, tls) = match scheme.strip_prefix("rediss") {
            Some(kind) => (kind, true),
            None => (scheme.strip_prefix("redis").ok_or("it begins with another scheme")?, false),
        };
        // The last @: what comes before it may have one.
        let (credentials, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (user, password) = credentials.map_or(Ok((None, None)), read_credentials)?;
        if rest.contains(['?', '#']) {
            return Err("it has options after ? or #");
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (form, db) = match kind {
            "" => match places(hosts, 6379)?.as_slice() {
                [place] => (Form::Single(place.clone()), read_db(path)?),
                _ => return Err("it names several hosts"),
            },
            "+sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                let master = decoded(master)?;
                if master.is_empty() {
                    return Err("the name of the master is missing behind the hosts");
                }
                (Form::Sentinel { sentinels: places(hosts, 26379)?, master }, read_db(db)?)
            }
            "+cluster" if path.is_empty() || path == "0" => (Form::Cluster(places(hosts, 6379)?), 0),
            "+cluster" => return Err("a cluster has no databases but 0"),
            _ => return Err("it begins with another scheme"),
        };
        Ok(Self { form, access: Access { tls, user, password, db } })
    }
}

type Credentials = (Option<String>, Option<SecretString>);

fn read_credentials(text: &str) -> Result<Credentials, &'static str> {
    let (user, password) = text.split_once(':').ok_or("it has a user without a password")?;
    let (user, password) = (decoded(user)?, decoded(password)?);
    Ok(((!user.is_empty()).then_some(user), (!password.is_empty()).then(|| password.into())))
}

fn read_db(text: &str) -> Result<i64, &'static str> {
    match text {
        "" => Ok(0),
        _ => text.parse::<u16>().map(i64::from).map_err(|_| "its database is not a number"),
    }
}

fn places(hosts: &str, port: u16) -> Result<Vec<Place>, &'static str> {
    hosts.split(',').map(|host| read_place(host, port)).collect()
}

fn read_place(text: &str, default_port: u16) -> Result<Place, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("a [ has no ]")?,
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let port = match port {
        "" => default_port,
        _ => port
            .strip_prefix(':')
            .and_then(|port| port.parse().ok())
            .filter(|port| *port > 0)
            .ok_or("a port is none")?,
    };
    match host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        true => Err("a host is missing"),
        false => Ok(Place { host: host.to_owned(), port }),
    }
}

/// Reads `%XX`.
fn decoded(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "a % is not followed by two hexadecimal digits (write %25 for the sign itself)";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or(WRONG)?;
        // from_str_radix would take a sign.
        let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| hex).ok_or(WRONG)?);
        rest = after.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| "its %XX are no UTF-8")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn place(host: &str, port: u16) -> Place {
        Place { host: host.to_owned(), port }
    }

    #[test]
    fn each_form_is_read() {
        let single = Target::parse("redis://ana:p%40s%2Fs@redis.example:7000/3").unwrap();
        assert_eq!(single.form, Form::Single(place("redis.example", 7000)));
        let access = single.access;
        assert_eq!((access.tls, access.user.as_deref(), access.db), (false, Some("ana"), 3));
        assert_eq!(access.password.unwrap().expose_secret(), "p@s/s");

        let sentinel = Target::parse("rediss+sentinel://:secret@a,[::1]:26380/main/2").unwrap();
        let sentinels = vec![place("a", 26379), place("::1", 26380)];
        assert_eq!(sentinel.form, Form::Sentinel { sentinels, master: "main".to_owned() });
        assert_eq!((sentinel.access.tls, sentinel.access.user, sentinel.access.db), (true, None, 2));

        let cluster = Target::parse("redis+cluster://a:1,b:2").unwrap();
        assert_eq!(cluster.form, Form::Cluster(vec![place("a", 1), place("b", 2)]));
        assert_eq!(Target::parse("redis://h").unwrap().form, Form::Single(place("h", 6379)));
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_repeating_it() {
        let wrong = [
            "localhost:6379",
            "http://hunter2",
            "redis://",
            "redis://a,b",
            "redis://a:hunter2",
            "redis://a:0",
            "redis://hunter2@a",
            "redis://u:hunter2%@a",
            "redis://u:hunter2%+1@a",
            "redis://a/hunter2",
            "redis://a?x=hunter2",
            "redis+sentinel://a",
            "redis+sentinel://a/main/hunter2",
            "redis+cluster://a/1",
            "redis+other://a",
            "redis+unix:///hunter2",
        ];
        for url in wrong {
            let problem = Target::parse(url).err().unwrap_or_else(|| panic!("{url} was read"));
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
