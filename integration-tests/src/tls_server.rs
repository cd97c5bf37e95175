//! A real TLS server, OpenSSL's own, over a folder of releases, with a certificate of whatever kind.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{child::Child, redis::free_port, releases::Release, wait};

/// Authorities and certificates are made for as long as a test lasts.
const DAYS: &str = "1";

/// An authority that nobody knows, unless its certificate is given to somebody to trust.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let authority = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let (key, certificate) = (authority.key(), authority.certificate());
        let subject = ["-subj", "/CN=An authority of a test"].map(PathBuf::from);
        make_certificate(&key, &certificate, &subject);
        authority
    }

    /// Its certificate, as a file to be trusted.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("authority.key")
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn make_certificate(key: &Path, certificate: &Path, further: &[PathBuf]) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            DAYS,
        ])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .args(further)
        .output();
    let made = made.unwrap_or_else(|error| panic!("cannot run openssl: {error}"));
    assert!(made.status.success(), "openssl made no certificate: {}", String::from_utf8_lossy(&made.stderr));
}

/// A running server. Dropped: it ends.
#[derive(Debug)]
pub struct TlsServer {
    port: u16,
    folder: TempDir,
    _server: Child,
}

impl TlsServer {
    /// Starts one on a free port of loopback, with a certificate of this authority for this name, such as
    /// `IP:127.0.0.1` or `DNS:example.org`.
    pub async fn start(authority: &Authority, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (key, certificate) = (folder.path().join("key"), folder.path().join("certificate"));
        let mut further: Vec<PathBuf> = vec!["-CA".into(), authority.certificate()];
        further.extend(["-CAkey".into(), authority.key()]);
        let named = format!("subjectAltName={name}");
        let of_a_server =
            ["-subj", "/CN=server", "-addext", &named, "-addext", "basicConstraints=critical,CA:FALSE"];
        further.extend(of_a_server.map(PathBuf::from));
        make_certificate(&key, &certificate, &further);
        let port = free_port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-WWW", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
        command.arg("-cert").arg(certificate).arg("-key").arg(key).current_dir(folder.path());
        let server = Child::spawn("tls-server", command, folder.path());
        wait::until("the TLS server to listen", async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .map_err(|error| format!("{error} {}", server.stderr()))
        })
        .await;
        Self { port, folder, _server: server }
    }

    /// Where releases are.
    pub fn url_template(&self) -> String {
        format!("https://127.0.0.1:{}/{{version}}", self.port)
    }

    /// Publishes a release.
    pub fn offer(&self, release: &Release) {
        fs::write(self.folder.path().join(&release.version), &release.program).expect("the folder is ours");
    }
}
