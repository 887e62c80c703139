//! What a URL of Postgres says: where the database is, and how the connection to it is secured. No message repeats the
//! URL: it holds a password.

use std::{fs::File, str::FromStr as _};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::db::OpenError;

/// The parameters that a URL may have. Others are refused: a misspelt `sslmode` must not pass for none.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// The options of `url`, which is the value of the setting that is called `setting`.
pub(super) fn parse(setting: &str, url: &SecretString) -> Result<PgConnectOptions, OpenError> {
    let wrong = |why: &str| OpenError(format!("{setting}: takes postgres://user:password@host:5432/database; {why}"));
    let url = url.expose_secret();
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let named = |pair: &str| PARAMETERS.contains(&pair.split(['=', '[']).next().unwrap_or_default());
    if !parameters.split('&').filter(|pair| !pair.is_empty()).all(named) {
        let known = PARAMETERS.join(", ");
        return Err(wrong(&format!("this one has a parameter that is none of {known}")));
    }
    let modes = "sslmode is one of disable, prefer, require, verify-ca, verify-full";
    let options = match PgConnectOptions::from_str(url) {
        Ok(options) => options,
        Err(_) if parameters.contains("sslmode") => return Err(wrong(&format!("this one cannot be read; {modes}"))),
        Err(_) => return Err(wrong("this one cannot be read")),
    };
    secured(options, parameters.contains("sslrootcert")).map_err(|why| wrong(&why.unwrap_or(modes.into())))
}

/// Looks at how the connection is secured. The error is `None` for a mode that there is not.
fn secured(options: PgConnectOptions, has_root: bool) -> Result<PgConnectOptions, Option<String>> {
    let mut files = Vec::new();
    for (name, value) in options.to_url_lossy().query_pairs().filter(|(name, _)| FILES.contains(&&**name)) {
        // So sqlx shows a file; what is no file is the certificate itself.
        if let Some(path) = value.strip_prefix("file: ") {
            File::open(path).map_err(|error| Some(format!("{name}: cannot read {path}: {error}")))?;
        }
        files.push(name.into_owned());
    }
    if files.iter().any(|name| name == "sslcert") != files.iter().any(|name| name == "sslkey") {
        return Err(Some("sslcert and sslkey belong together".into()));
    }
    match options.get_ssl_mode() {
        PgSslMode::Allow => Err(None),
        // A root that is given is meant: libpq verifies then as well.
        PgSslMode::Require if has_root => Ok(options.ssl_mode(PgSslMode::VerifyCa)),
        PgSslMode::Disable | PgSslMode::Prefer if has_root => {
            Err(Some("with sslrootcert, sslmode is verify-ca or verify-full".into()))
        }
        _ => Ok(options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        let said = parse("database.url", &url.into()).unwrap_err().to_string();
        assert!(said.starts_with("database.url: ") && !said.contains("hunter2"), "{said}");
        said
    }

    #[test]
    fn a_parameter_that_is_misspelt_is_refused() {
        assert!(refusal("postgres://ana:hunter2@db/chat?sslmod=verify-full").contains("sslmode"));
        assert!(refusal("postgres://ana:a?hunter2@db/chat").contains("parameter"));
        assert!(refusal("postgres://ana:hunter2@db/chat?sslmode=sure").contains("verify-full"));
        assert!(refusal("postgres://ana:hunter2@db/chat?sslmode=allow").contains("verify-full"));
        assert!(parse("database.url", &"postgres://ana@db/chat?options[work_mem]=4MB&sslmode=require".into()).is_ok());
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let url = "postgres://ana:hunter2@db/chat?sslmode=verify-full&sslrootcert=/nowhere/ca.crt";
        let said = refusal(url);
        assert!(said.contains("sslrootcert") && said.contains("/nowhere/ca.crt"), "{said}");
        assert!(refusal("postgres://ana:hunter2@db/chat?sslcert=Cargo.toml").contains("belong together"));
    }

    #[test]
    fn a_root_certificate_is_never_ignored() {
        let mode = |mode: &str| {
            let url = format!("postgres://ana:hunter2@db/chat?sslrootcert=Cargo.toml{mode}");
            parse("database.url", &url.into()).map(|options| options.get_ssl_mode())
        };
        assert!(matches!(mode("&sslmode=require"), Ok(PgSslMode::VerifyCa)));
        assert!(matches!(mode("&sslmode=verify-full"), Ok(PgSslMode::VerifyFull)));
        assert!(mode("").is_err());
    }
}
