//! A certificate authority of a test's own, made with openssl.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// An authority that signs whatever it is asked to. Dropped, its files are gone.
pub(crate) struct Authority {
    folder: TempDir,
}

/// A certificate and its key, as files with PEM text.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let subject = ["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"];
        openssl(folder.path(), &[&["req"], &NEW_KEY[..], &subject].concat());
        Self { folder }
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Signs a certificate for `name`, which is the user of a client, and `host`, such as `IP:127.0.0.1`.
    pub(crate) fn sign(&self, name: &str, host: &str) -> Certificate {
        let file = |ending: &str| format!("{name}.{ending}");
        let folder = self.folder.path();
        std::fs::write(folder.join(file("ext")), format!("subjectAltName={host}\n")).unwrap();
        let subject = format!("/CN={name}");
        let request = ["-subj", &subject, "-keyout", &file("key"), "-out", &file("csr")];
        openssl(folder, &[&["req"], &NEW_KEY[..], &request].concat());
        let signed = ["x509", "-req", "-days", "2", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
        let files = ["-in", &file("csr"), "-out", &file("crt"), "-extfile", &file("ext")];
        openssl(folder, &[&signed[..], &files].concat());
        Certificate { certificate: folder.join(file("crt")), key: folder.join(file("key")) }
    }
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn openssl(folder: &Path, args: &[&str]) {
    let output = Command::new("openssl").args(args).current_dir(folder).output().expect("openssl is on PATH");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
