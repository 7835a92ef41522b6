//! People whom a proxy in front has logged in. Its headers count only on its own connections.

use std::net::IpAddr;

use axum::http::HeaderMap;

use super::users::{Role, is_name};
use crate::site::Proxy;

/// Name and role of who sent this through the proxy.
pub(super) fn person(proxy: &Proxy, headers: &HeaderMap, peer: IpAddr) -> Option<(String, Role)> {
    if !proxy.addresses.iter().any(|network| network.contains(peer)) {
        return None;
    }
    // Two names are nobody's: one of them may be the visitor's own.
    let mut names = headers.get_all(&proxy.user_header).iter();
    let name = names.next().filter(|_| names.next().is_none())?.to_str().ok()?.trim();
    if !is_name(name) {
        tracing::warn!(name = %name.escape_debug(), "the proxy sent a name that is none");
        return None;
    }
    let groups = headers.get_all(&proxy.groups_header).iter().filter_map(|v| v.to_str().ok());
    let groups = groups.flat_map(|v| v.split(',')).map(str::trim);
    let role = groups.filter_map(|group| proxy.groups.get(group).copied()).max().or(proxy.role)?;
    Some((name.to_owned(), role))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(more: &str) -> Proxy {
        toml::from_str(&format!("addresses = [\"10.1.2.0/24\", \"127.0.0.1\"]\n{more}")).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const ANN: (&str, &str) = ("x-forwarded-user", "ann@plant.example");

    #[test]
    fn only_the_proxy_says_who_somebody_is() {
        let proxy = proxy("role = \"viewer\"");
        let from = |peer: &str, pairs: &[(&'static str, &str)]| {
            person(&proxy, &headers(pairs), peer.parse().unwrap())
        };
        let ann = Some(("ann@plant.example".to_owned(), Role::Viewer));
        assert_eq!(from("10.1.2.9", &[ANN]), ann);
        assert_eq!(from("::ffff:10.1.2.9", &[ANN]), ann, "IPv4 on a socket of IPv6");
        assert_eq!(from("127.0.0.1", &[ANN]), ann);
        assert_eq!(from("10.1.3.9", &[ANN]), None);
        assert_eq!(from("10.1.2.9", &[]), None);
        assert_eq!(from("10.1.2.9", &[ANN, ("x-forwarded-user", "eve")]), None);
        assert_eq!(from("10.1.2.9", &[("x-forwarded-user", "ann (engineer, console)")]), None);
    }

    #[test]
    fn the_highest_group_counts() {
        let groups = "groups = { ops = \"operator\", leads = \"engineer\" }";
        let role = |more: &str, groups: &str| {
            let pairs = headers(&[ANN, ("x-forwarded-groups", groups)]);
            person(&proxy(more), &pairs, [127, 0, 0, 1].into()).map(|(_, role)| role)
        };
        assert_eq!(role(groups, "staff, ops"), Some(Role::Operator));
        assert_eq!(role(groups, "leads,ops"), Some(Role::Engineer));
        assert_eq!(role(groups, "staff"), None);
        assert_eq!(role(&format!("{groups}\nrole = \"viewer\""), "staff"), Some(Role::Viewer));
    }
}
