//! Every path that a site file can name.

use std::path::PathBuf;

use crate::site::{Mqtt, Site};

/// By key; those that are given or have a default.
pub(super) fn paths(site: &mut Site) -> Vec<(&'static str, &mut PathBuf)> {
    let Site { audit, model, console, rl, mqtt, .. } = site;
    let mut all = vec![
        ("audit.path", &mut audit.path),
        ("audit.key", &mut audit.key),
        ("console.control_socket", &mut console.control_socket),
    ];
    if let Some(tls) = &mut console.tls {
        all.extend([("console.tls.cert", &mut tls.cert), ("console.tls.key", &mut tls.key)]);
    }
    let mut may_be_absent = vec![
        ("audit.checkpoint_file", &mut audit.checkpoint_file),
        ("audit.archive", &mut audit.archive),
        ("model.path", &mut model.path),
        ("model.prompts", &mut model.prompts),
        ("model.kept", &mut model.kept),
        ("console.users", &mut console.users),
        ("console.recordings", &mut console.recordings),
        ("rl.policy", &mut rl.policy),
    ];
    if let Some(Mqtt { password_file, tls, .. }) = mqtt {
        may_be_absent.push(("mqtt.password_file", password_file));
        if let Some(tls) = tls {
            may_be_absent.extend([
                ("mqtt.tls.ca_file", &mut tls.ca_file),
                ("mqtt.tls.client_cert", &mut tls.client_cert),
                ("mqtt.tls.client_key", &mut tls.client_key),
            ]);
        }
    }
    all.extend(may_be_absent.into_iter().filter_map(|(key, path)| Some((key, path.as_mut()?))));
    all
}
