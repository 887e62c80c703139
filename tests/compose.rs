//! `docker-compose.yml` and `Dockerfile`, as far as they can be held against the code without an engine.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use saphyr::{LoadableYamlNode as _, YamlOwned};

/// What somebody might give as secrets.
const SECRETS: [(&str, &str); 3] = [
    ("RELAY_AUTH_SIGNING_KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"),
    ("POSTGRES_PASSWORD", "of-postgres"),
    ("REDIS_PASSWORD", "of-redis"),
];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn compose() -> YamlOwned {
    YamlOwned::load_from_str(&read("docker-compose.yml")).unwrap().remove(0)
}

fn services(compose: &YamlOwned) -> Vec<(String, &YamlOwned)> {
    let services = compose["services"].as_mapping().unwrap();
    services.iter().map(|(name, service)| (name.as_str().unwrap().to_owned(), service)).collect()
}

/// A service's variables as they are written.
fn environment(service: &YamlOwned) -> Vec<(String, String)> {
    let Some(variables) = service.as_mapping_get("environment") else { return Vec::new() };
    let text = |value: &YamlOwned| value.as_str().unwrap().to_owned();
    variables.as_mapping().unwrap().iter().map(|(name, value)| (text(name), text(value))).collect()
}

/// Puts secrets where `${NAME:?why}` asks for them. Any other form, with a default above all, is refused.
fn interpolate(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((before, rest)) = text.split_once("${") {
        let (variable, after) = rest.split_once('}').unwrap();
        let (name, why) = variable.split_once(":?").unwrap_or_else(|| panic!("{variable} may be missing"));
        let secret = SECRETS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is no secret"));
        assert!(!why.is_empty(), "{name} says what it is");
        whole = whole + before + secret.1;
        text = after;
    }
    whole + text
}

/// The variables that the image sets for itself.
fn of_image() -> Vec<(String, String)> {
    let dockerfile = read("Dockerfile");
    let lines = dockerfile.lines().filter_map(|line| line.strip_prefix("ENV "));
    let pairs = lines.flat_map(str::split_whitespace).map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_server_takes_the_settings_that_compose_gives_it() {
    let compose = compose();
    let given = environment(&compose["services"]["relay"]);
    let settings = of_image().into_iter().chain(given.into_iter().map(|(name, value)| (name, interpolate(&value))));
    let check = |settings: Vec<(String, String)>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command.args(["config", "check"]).env_clear().envs(settings).output().unwrap()
    };
    let settings: Vec<_> = settings.collect();
    for name in ["RELAY_SERVER_LISTEN", "RELAY_AUTH_SIGNING_KEY", "RELAY_DATABASE_URL", "RELAY_REDIS_URL"] {
        assert!(settings.iter().any(|(set, _)| set == name), "{name} is set");
    }
    let output = check(settings.clone());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let wrong = settings.into_iter().map(|(name, value)| (name.replace("REDIS_URL", "REDIS_ADDRESS"), value));
    assert!(!check(wrong.collect()).status.success(), "a name that is no setting is refused");
}

#[test]
fn secrets_are_asked_for_and_stand_nowhere() {
    for (service, settings) in services(&compose()) {
        for (name, value) in environment(settings) {
            let secret = ["PASSWORD", "KEY", "URL", "AUTH"].iter().any(|part| name.contains(part));
            assert_eq!(secret, value.contains("${"), "{service}: {name}");
            interpolate(&value);
        }
    }
    for (name, _) in SECRETS {
        assert!(!read("Dockerfile").contains(name), "{name} is not built into the image");
    }
    for ignore in [".gitignore", ".dockerignore"] {
        assert!(read(ignore).lines().any(|line| line == "/.env"), "{ignore}");
    }
}

#[test]
fn every_service_is_watched_and_waits_for_what_it_needs() {
    let compose = compose();
    let services = services(&compose);
    for (name, service) in &services {
        assert!(service["healthcheck"]["test"].as_sequence().is_some(), "{name} has a health check");
        let ports = service.as_mapping_get("ports").is_some();
        assert_eq!(ports, name == "proxy", "the proxy alone is reached from outside");
        let Some(needs) = service.as_mapping_get("depends_on") else { continue };
        for (needed, how) in needs.as_mapping().unwrap() {
            assert!(services.iter().any(|(other, _)| Some(other.as_str()) == needed.as_str()), "{needed:?}");
            assert_eq!(how["condition"].as_str(), Some("service_healthy"));
        }
    }
    assert_eq!(compose["services"]["relay"]["deploy"]["replicas"].as_integer(), Some(2));
    let files = compose["services"]["proxy"]["volumes"].as_sequence().unwrap();
    for file in files {
        let (here, _) = file.as_str().unwrap().split_once(':').unwrap();
        assert!(read(here).contains("relay:8080"), "{here} leads to the nodes");
    }
    let port = of_image().into_iter().find(|(name, _)| name == "RELAY_SERVER_LISTEN").unwrap().1;
    assert!(port.ends_with(":8080") && read("Dockerfile").contains("EXPOSE 8080"));
}
