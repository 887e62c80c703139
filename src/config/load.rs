//! Reads the settings from their layers. Every key is one of `relay.default.toml`; any other is refused by its name.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Config;

/// The defaults and their documentation.
pub const DEFAULTS: &str = include_str!("../../relay.default.toml");

/// Variables that begin with RELAY_ and are no settings: what examples and scripts read.
const NOT_SETTINGS: [&str; 3] = ["RELAY_CONFIG", "RELAY_TOKEN", "RELAY_URL"];

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config FILE`. `None`: `relay.toml` in the working directory, if it is there.
    pub file: Option<PathBuf>,
    /// `--set section.key=value`, and the flags that stand for one.
    pub set: Vec<(String, String)>,
}

/// Why the settings cannot be used. The message names the layer and the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(String);

/// Reads all layers. `environment` is what `std::env::vars` gives.
pub fn load(overrides: &Overrides, environment: impl Iterator<Item = (String, String)>) -> Result<Config, LoadError> {
    let mut table: Table = DEFAULTS.parse().map_err(|e| LoadError(format!("relay.default.toml: {e}")))?;
    if let Some((path, text)) = read_file(overrides.file.as_deref())? {
        let name = path.display().to_string();
        let layer: Table = text.parse().map_err(|e: toml::de::Error| syntax(&name, &text, &e))?;
        merge(&mut table, layer, &name)?;
    }
    for (name, text) in environment.filter(|(name, _)| is_setting(name)) {
        let key = keys(&table)
            .find(|key| variable(key) == name)
            .ok_or_else(|| LoadError(format!("{name} in the environment is not a setting of Relay")))?;
        set(&mut table, &key, &text, &name)?;
    }
    for (key, text) in &overrides.set {
        set(&mut table, key, text, "--set")?;
    }
    let config: Config = Value::Table(table).try_into().map_err(|e| misfit(&e))?;
    match config.problems() {
        problems if problems.is_empty() => Ok(config),
        problems => Err(LoadError(problems.join("\n"))),
    }
}

/// What begins with RELAY_TEST_ is for tests.
fn is_setting(name: &str) -> bool {
    name.starts_with("RELAY_") && !name.starts_with("RELAY_TEST_") && !NOT_SETTINGS.contains(&name)
}

/// Says where a file cannot be read, without its text: the line may hold a secret.
fn syntax(name: &str, text: &str, error: &toml::de::Error) -> LoadError {
    let line = error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.lines().count().max(1));
    LoadError(format!("{name}, near line {line}: {}", error.message()))
}

/// Says which setting does not fit. Without a text to quote from, the error's own words end with the key's path.
fn misfit(error: &toml::de::Error) -> LoadError {
    LoadError(format!("settings: {}", error.to_string().trim().replace('\n', " ")))
}

fn read_file(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, LoadError> {
    let path = named.unwrap_or(Path::new("relay.toml"));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LoadError(format!("{}: {error}", path.display()))),
    }
}

fn merge(table: &mut Table, layer: Table, name: &str) -> Result<(), LoadError> {
    for (section, values) in layer {
        let unknown = |key: &str| LoadError(format!("{name}: {key} is not a setting of Relay"));
        let known = table.get_mut(&section).and_then(Value::as_table_mut).ok_or_else(|| unknown(&section))?;
        let Value::Table(values) = values else {
            return Err(LoadError(format!("{name}: {section} is a section, written [{section}]")));
        };
        for (key, value) in values {
            *known.get_mut(&key).ok_or_else(|| unknown(&format!("{section}.{key}")))? = value;
        }
    }
    Ok(())
}

fn keys(table: &Table) -> impl Iterator<Item = String> + '_ {
    table.iter().flat_map(|(section, values)| {
        values.as_table().into_iter().flat_map(move |t| t.keys().map(move |key| format!("{section}.{key}")))
    })
}

fn variable(key: &str) -> String {
    format!("RELAY_{}", key.replace('.', "_").to_uppercase())
}

/// Sets one key from text, read as the type that its default has.
fn set(table: &mut Table, key: &str, text: &str, layer: &str) -> Result<(), LoadError> {
    let slot = key
        .split_once('.')
        .and_then(|(section, key)| table.get_mut(section)?.as_table_mut()?.get_mut(key))
        .ok_or_else(|| LoadError(format!("{layer}: {key} is not a setting of Relay")))?;
    *slot = match slot {
        Value::Integer(_) => text.parse().map(Value::Integer).ok(),
        Value::Boolean(_) => text.parse().map(Value::Boolean).ok(),
        Value::Array(_) if key == "auth.keys" => {
            return Err(LoadError(format!("{layer}: {key} is set in a file, as [[auth.keys]]")));
        }
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        _ => Some(Value::String(text.to_owned())),
    }
    // The text itself is not repeated: it may be a secret.
    .ok_or_else(|| LoadError(format!("{layer}: {key} takes {}", slot.type_str())))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(env: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Config, LoadError> {
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        load(&Overrides { file: None, set: pairs(set) }, pairs(env).into_iter())
    }

    #[test]
    fn the_documented_defaults_are_valid() {
        let config = load_with(&[], &[]).unwrap();
        assert_eq!(config.server.listen.port(), 8080);
    }

    #[test]
    fn later_layers_win() {
        let env = [("RELAY_SERVER_LISTEN", "127.0.0.1:1"), ("RELAY_CHAT_APPEND_BATCH", "7"), ("HOME", "/")];
        let config = load_with(&env, &[("server.listen", "127.0.0.1:2")]).unwrap();
        assert_eq!((config.server.listen.port(), config.chat.append_batch), (2, 7));
        let config = load_with(&[("RELAY_SERVER_CORS_ORIGINS", "https://a.example, https://b.example")], &[]).unwrap();
        assert_eq!(config.server.cors_origins, ["https://a.example", "https://b.example"]);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        for (env, set) in [
            (vec![("RELAY_SERVER_LISTNE", "x")], vec![]),
            (vec![], vec![("server.listne", "x")]),
            (vec![], vec![("listen", "x")]),
        ] {
            let error = load_with(&env, &set).unwrap_err().to_string();
            assert!(error.contains("not a setting"), "{error}");
        }
        let mut table: Table = DEFAULTS.parse().unwrap();
        let error = merge(&mut table, "[server]\nlistne = 1".parse().unwrap(), "relay.toml").unwrap_err();
        assert_eq!(error.to_string(), "relay.toml: server.listne is not a setting of Relay");
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let error = load_with(&[], &[("stream.heartbeat_interval", "1h"), ("chat.append_batch", "0")]).unwrap_err();
        assert!(error.to_string().contains("stream.heartbeat_interval"), "{error}");
        assert!(error.to_string().contains("chat.append_batch"), "{error}");
    }

    #[test]
    fn secrets_stay_out_of_errors_and_debug() {
        let secrets =
            [("RELAY_AUTH_SIGNING_KEY", "hunter2hunter2"), ("RELAY_DATABASE_URL", "postgres://ana:hunter2@x/y")];
        let config = load_with(&secrets, &[]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
