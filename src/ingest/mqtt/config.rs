use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{MAX_INCOMING, MAX_PACKET, OFFLINE};
use crate::site::{Mqtt, Site, Tls};

/// A connection that shows no life for twice this long is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const IN_FLIGHT: u16 = 100;

/// Why a connection to the broker cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the site file has no [mqtt] table: add host and port")]
    NoBroker,
    #[error("mqtt.password_env: the environment variable {0} is not set (or is not text)")]
    PasswordEnv(String),
    #[error("mqtt.password_file: cannot read {path}: {source}", path = path.display())]
    PasswordFile { path: PathBuf, source: std::io::Error },
    #[error("mqtt.{field}: cannot read {path}: {source}. Expected a PEM file", path = path.display())]
    Pem { field: &'static str, path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("mqtt.tls: {path} holds no certificate. Expected PEM", path = path.display())]
    NoCertificate { path: PathBuf },
    #[error("mqtt.tls: client_cert and client_key go together: give both or neither")]
    HalfClientCertificate,
    #[error("mqtt.tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error("mqtt.tls: the system has no root certificates; name the broker's in mqtt.tls.ca_file")]
    NoSystemRoots,
}

/// Everything rumqttc is told, none of it left to its defaults where those hurt: packets over 10 KiB are
/// refused, and a session that the broker keeps can replay old messages as if they were new.
pub(super) fn options(site: &Site) -> Result<MqttOptions, ConfigError> {
    let mqtt = site.mqtt.as_ref().ok_or(ConfigError::NoBroker)?;
    let mut options = client(mqtt, client_id(site, mqtt))?;
    options.set_last_will(LastWill::new(super::status_topic(site), OFFLINE, QoS::AtLeastOnce, true));
    Ok(options)
}

/// Under another name: a broker drops the agent when somebody else calls himself the same.
pub(super) fn visitor(site: &Site) -> Result<MqttOptions, ConfigError> {
    let mqtt = site.mqtt.as_ref().ok_or(ConfigError::NoBroker)?;
    client(mqtt, format!("{}-visitor-{}", client_id(site, mqtt), std::process::id()))
}

fn client_id(site: &Site, mqtt: &Mqtt) -> String {
    mqtt.client_id.clone().unwrap_or_else(|| format!("isotherm-{}", site.name))
}

/// The same for a client that says nothing of a site.
pub(crate) fn client(mqtt: &Mqtt, id: String) -> Result<MqttOptions, ConfigError> {
    let mut options = MqttOptions::new(id, mqtt.host.clone(), mqtt.port);
    options
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_session(true)
        .set_inflight(IN_FLIGHT)
        .set_max_packet_size(MAX_INCOMING, MAX_PACKET);
    if let Some(user) = &mqtt.username {
        options.set_credentials(user.clone(), password(mqtt)?);
    }
    if let Some(tls) = &mqtt.tls {
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(client_config(tls)?))));
    }
    Ok(options)
}

fn password(mqtt: &Mqtt) -> Result<String, ConfigError> {
    if let Some(variable) = &mqtt.password_env {
        return std::env::var(variable).map_err(|_| ConfigError::PasswordEnv(variable.clone()));
    }
    let Some(path) = &mqtt.password_file else { return Ok(String::new()) };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::PasswordFile { path: path.clone(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The provider is named here, so that it does not matter what the rest of the process has installed.
fn client_config(tls: &Tls) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(tls)?);
    match (&tls.client_cert, &tls.client_key) {
        (Some(cert), Some(key)) => {
            let chain = certificates("tls.client_cert", cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| ConfigError::Pem {
                field: "tls.client_key",
                path: key.clone(),
                source,
            })?;
            Ok(builder.with_client_auth_cert(chain, key)?)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) | (None, Some(_)) => Err(ConfigError::HalfClientCertificate),
    }
}

fn roots(tls: &Tls) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &tls.ca_file {
        for certificate in certificates("tls.ca_file", path)? {
            roots.add(certificate)?;
        }
    } else {
        let (added, _unusable) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err(ConfigError::NoSystemRoots);
        }
    }
    Ok(roots)
}

fn certificates(field: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let bad = |source| ConfigError::Pem { field, path: path.to_owned(), source };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(bad)?.collect::<Result<_, _>>().map_err(bad)?;
    if chain.is_empty() { Err(ConfigError::NoCertificate { path: path.to_owned() }) } else { Ok(chain) }
}
