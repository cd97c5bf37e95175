//! HTTP clients that trust whom this machine trusts, and why they do not trust somebody.
//!
//! The authorities are those of the system (Debian's `ca-certificates`), or of `SSL_CERT_FILE` and `SSL_CERT_DIR`, as
//! OpenSSL reads them. They are read once, when a client is made.

use std::{error::Error, io};

use reqwest::{Client, ClientBuilder};
use rustls::CertificateError;

use crate::error_chain::Chained;

/// Makes a client. Without any authority that can be read it is made all the same, and trusts nobody: a machine that
/// needs no `https:` needs none, and no vault may be down for the want of them.
pub(crate) fn client(builder: impl Fn() -> ClientBuilder) -> Result<Client, reqwest::Error> {
    // The RPC client brings *ring*; a second TLS backend beside it would be one more to keep safe. Fails when
    // that client was faster, which installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder().build().or_else(|error| {
        let client = builder().tls_certs_only([]).build()?;
        tracing::error!(
            "no https: is possible, because whom to trust cannot be read: install ca-certificates, or put SSL_CERT_FILE \
             right, and start again: {}",
            Chained(&error)
        );
        Ok(client)
    })
}

/// What is wrong with the certificate of a server, and what to do, for the end of a sentence; nothing if it was not that.
pub(crate) fn distrust(error: &reqwest::Error) -> &'static str {
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(rustls::Error::InvalidCertificate(why)) = found.downcast_ref() {
            return told(why);
        }
        cause = match found.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // As its source it would name the source of that one.
            Some(inner) => Some(inner),
            None => found.source(),
        };
    }
    ""
}

fn told(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::UnknownIssuer => {
            ": its certificate is not trusted, because it is of no authority that this machine knows: if it is the right \
             one, have it trusted (ca-certificates, or SSL_CERT_FILE for vaultvisor) and start vaultvisor again"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ": its certificate is not trusted, because it is for another host: name the host by which it is certified"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            ": its certificate is not trusted, because it is not valid at this time: it was not renewed, or this machine's \
             clock is wrong"
        }
        _ => ": its certificate is not trusted",
    }
}
