//! Where a secret key comes from, and how none is shown.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use subxt_signer::{SecretUri, sr25519::Keypair};

/// Where a secret key may come from when no option names one.
const SURI_VARIABLE: &str = "VAULTVISOR_SURI";

/// The longest secret URI that is read, in bytes; a phrase of 24 words with a path is some 300.
const MAX_SURI_BYTES: u64 = 4096;

/// Where a key is.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// A development key such as //Alice; other people can see a command line, so real keys go into
    /// --suri-file or VAULTVISOR_SURI
    #[arg(long, value_name = "URI", conflicts_with = "suri_file")]
    suri: Option<Hidden>,
    /// A file with the secret URI of the key that signs, readable by its owner only
    #[arg(long, value_name = "FILE")]
    suri_file: Option<PathBuf>,
}

impl KeyArgs {
    /// The key itself.
    pub(super) fn signer(self) -> Result<Keypair, KeyError> {
        signer(self.suri, self.suri_file.as_deref())
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error(
        "--suri takes only development keys such as //Alice, because other users of this machine can read \
         command lines; put the key into a file (--suri-file) or into the variable {SURI_VARIABLE}"
    )]
    SuriOnCommandLine,
    #[error("no key to sign with: expected --suri, --suri-file or the variable {SURI_VARIABLE}")]
    NoKey,
    #[error(
        "{origin} does not hold a secret URI: expected a phrase, 0x and 64 hexadecimal digits, or //Name, \
         each optionally with a path"
    )]
    BadSuri { origin: String },
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error(
        "{} may be read by others (mode {mode:o}): expected 600 or 400; run chmod 600, and consider the key known",
        path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
}

/// A text that no debug output, and so no log, shows.
#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl FromStr for Hidden {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

fn signer(suri: Option<Hidden>, suri_file: Option<&Path>) -> Result<Keypair, KeyError> {
    match (suri, suri_file) {
        (Some(Hidden(suri)), _) if suri.starts_with("//") => keypair(&suri, "--suri"),
        (Some(_), _) => Err(KeyError::SuriOnCommandLine),
        (None, Some(path)) => keypair(&read_suri(path)?, &path.display().to_string()),
        (None, None) => match std::env::var_os(SURI_VARIABLE) {
            Some(suri) => keypair(&suri.to_string_lossy(), SURI_VARIABLE),
            None => Err(KeyError::NoKey),
        },
    }
}

/// The reason is not part of the error: it could quote the secret.
fn keypair(suri: &str, origin: &str) -> Result<Keypair, KeyError> {
    let bad = || KeyError::BadSuri { origin: origin.to_owned() };
    let suri = suri.trim();
    // An empty text would be the well-known development phrase itself, which nobody means.
    if suri.is_empty() {
        return Err(bad());
    }
    let uri = SecretUri::from_str(suri).map_err(|_| bad())?;
    Keypair::from_uri(&uri).map_err(|_| bad())
}

fn read_suri(path: &Path) -> Result<String, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // Of the opened file, not of the path: what is checked is what is read.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut suri = String::new();
    file.take(MAX_SURI_BYTES).read_to_string(&mut suri).map_err(unreadable)?;
    Ok(suri)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const SUM: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const ALICE: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

    fn key_file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        (folder, path)
    }

    fn public(keypair: &Keypair) -> String {
        hex::encode(keypair.public_key().0)
    }

    #[test]
    fn a_command_line_shows_only_development_keys() {
        let suri = |text: &str| signer(Some(Hidden(text.to_owned())), None);
        assert_eq!(public(&suri("//Alice").expect("a development key")), ALICE);
        let phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
        for secret in [phrase, &format!("{phrase}//Alice"), &format!("0x{SUM}"), "/Alice", ""] {
            let error = suri(secret).expect_err("refused").to_string();
            assert!(error.contains("--suri-file") && error.contains("VAULTVISOR_SURI"), "{error}");
            assert!(!error.contains("curtain") && !error.contains(SUM), "{error}");
        }
    }

    #[test]
    fn a_key_file_is_trimmed_and_must_be_private() {
        let (_folder, path) = key_file("//Alice\n", 0o600);
        assert_eq!(public(&signer(None, Some(&path)).expect("a key")), ALICE);
        for mode in [0o644, 0o640, 0o604, 0o620] {
            let (_folder, path) = key_file("//Alice\n", mode);
            let error = signer(None, Some(&path)).expect_err("exposed").to_string();
            assert!(error.contains(&format!("{mode:o}")) && error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn bad_secrets_are_refused_without_being_quoted() {
        for secret in ["abandon abandon secretword", "0x12", "", " \n", "0xnothexnothex//x///pass"] {
            let (_folder, path) = key_file(secret, 0o600);
            let error = signer(None, Some(&path)).expect_err("no key");
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("does not hold a secret URI"), "{shown}");
            assert!(!shown.contains("secretword") && !shown.contains("nothex"), "{shown}");
        }
    }
}
