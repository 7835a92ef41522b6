//! Nothing reaches past this machine until somebody has to say who they are, where nobody can listen.

use super::check::Checker;
use super::peers::is_host;
use crate::site::{Network, Site};

impl Checker {
    pub(super) fn console(&mut self, site: &Site) {
        let console = &site.console;
        let is_on = console.listen != "off";
        if is_on && !is_address(&console.listen) {
            self.top(
                "console.listen",
                format!(
                    "expected an address and a port such as \"127.0.0.1:8455\", or \"off\", got {:?}",
                    console.listen
                ),
            );
            return;
        }
        let beyond = !console.is_loopback() && is_on;
        if beyond && console.users.is_none() && console.proxy.is_none() {
            self.top(
                "console.listen",
                "reaches past this machine, but there is no console.users: name a file there and add people with `isotherm console user add NAME --role operator`, or listen on 127.0.0.1",
            );
        }
        if beyond && console.tls.is_none() && !console.plain_http {
            self.top(
                "console.listen",
                "reaches past this machine, where passwords must not be read on the way: name a certificate and its key in console.tls, as tls = { cert = \"console.pem\", key = \"console.key\" }, or say plain_http = true where a proxy in front has TLS",
            );
        }
        let Some(proxy) = &console.proxy else { return };
        if proxy.addresses.is_empty() || proxy.addresses.iter().any(Network::is_everyone) {
            self.top(
                "console.proxy.addresses",
                "expected the proxy's own addresses: whoever connects from there is believed to be anyone it names",
            );
        }
        if proxy.groups.is_empty() && proxy.role.is_none() {
            self.top(
                "console.proxy.groups",
                "lets nobody in: say what a group may do, as groups = { \"dc-operators\" = \"operator\" }, or what everyone may, as role = \"viewer\"",
            );
        }
        for (key, header) in [("user_header", &proxy.user_header), ("groups_header", &proxy.groups_header)] {
            if header.is_empty() || !header.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                self.top(
                    &format!("console.proxy.{key}"),
                    "expected the name of a header, such as \"x-forwarded-user\"",
                );
            }
        }
    }
}

/// `HOST:PORT`, an IPv6 address in brackets.
pub(super) fn is_address(listen: &str) -> bool {
    let Some((host, port)) = listen.rsplit_once(':') else { return false };
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    is_host(host) && !bare_v6 && port.parse::<u16>().is_ok()
}
