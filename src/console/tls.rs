//! The console's certificate. It is read again when its files change: certificates are renewed more often
//! than an agent is restarted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::site::ConsoleTls;

const LOOK_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("console.tls.{field}: cannot read {path}: {source}. Expected a PEM file with {holds}", path = path.display())]
    Pem { field: &'static str, holds: &'static str, path: PathBuf, source: pem::Error },
    #[error("console.tls.cert: {path} holds no certificate. Expected PEM: the server's own, then those that signed it", path = path.display())]
    NoCertificate { path: PathBuf },
    #[error("console.tls: {cert} and {key} do not make a server: {source}. Expected a certificate and the key it was made for", cert = cert.display(), key = key.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

/// What the console shows to whoever connects.
pub(super) fn load(tls: &ConsoleTls) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&tls.cert)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|source| TlsError::Pem {
        field: "key",
        holds: "the certificate's private key, without a password",
        path: tls.key.clone(),
        source,
    })?;
    let pair = |source| TlsError::Pair { cert: tls.cert.clone(), key: tls.key.clone(), source };
    // The provider is named here, so that it does not matter what the rest of the process has installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |source| TlsError::Pem {
        field: "cert",
        holds: "the server's certificate, then those that signed it",
        path: path.to_owned(),
        source,
    };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(bad)?.collect::<Result<_, _>>().map_err(bad)?;
    if chain.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(chain) }
}

/// Serves with the new certificate once both files are there; until then with the old one.
pub(super) async fn renew(tls: ConsoleTls, config: RustlsConfig) {
    let mut seen = changed(&tls);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = changed(&tls);
        if now == seen {
            continue;
        }
        match load(&tls) {
            Ok(fresh) => {
                config.reload_from_config(fresh);
                seen = now;
                tracing::info!(cert = %tls.cert.display(), "the console's certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the console goes on with the certificate it has"),
        }
    }
}

fn changed(tls: &ConsoleTls) -> [Option<SystemTime>; 2] {
    [&tls.cert, &tls.key].map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok())
}
