//! The broker and the devices: addresses that can be reached, and patience that ends.

use std::net::IpAddr;

use jiff::SignedDuration;

use super::check::Checker;
use super::spot::Spot;
use super::within::{DAY, HOUR, MILLISECOND, MINUTE, SECOND};
use crate::site::{Device, Mqtt, Site};

impl Checker {
    pub(super) fn peers(&mut self, site: &Site) {
        if let Some(mqtt) = &site.mqtt {
            self.broker(mqtt);
        }
        for (i, device) in site.devices.iter().enumerate() {
            self.device(&Spot::entry("device", i, &device.name), device);
        }
    }

    fn broker(&mut self, mqtt: &Mqtt) {
        let of = Spot::key("mqtt");
        self.address(&of, &mqtt.host, mqtt.port);
        let why = "a source is silent for a while before it is reported";
        self.times(&of, &[("watchdog", mqtt.watchdog, MILLISECOND * 100, DAY, why)]);
        let with_password = mqtt.password_env.is_some() || mqtt.password_file.is_some();
        if with_password && mqtt.username.is_none() {
            self.say(of.at("username"), "expected one beside the password: without it no password is sent");
        }
        if mqtt.password_env.is_some() && mqtt.password_file.is_some() {
            self.say(of.at("password_file"), "expected the password in one place: this, or password_env");
        }
    }

    fn device(&mut self, of: &Spot, device: &Device) {
        self.address(of, &device.host, device.port);
        if device.max_block == 0 || device.max_block > 125 {
            self.say(of.at("max_block"), "expected 1 to 125 registers (the Modbus limit for one read)");
        }
        self.times(
            of,
            &[
                (
                    "timeout",
                    device.timeout,
                    MILLISECOND * 10,
                    MINUTE,
                    "no frame is taken until a silent device is given up",
                ),
                (
                    "inter_frame_delay",
                    device.inter_frame_delay,
                    SignedDuration::ZERO,
                    SECOND * 10,
                    "the pause after each request",
                ),
                (
                    "reopen_after",
                    device.reopen_after,
                    MILLISECOND,
                    HOUR,
                    "a lost connection is opened again, but not without a pause",
                ),
            ],
        );
    }

    fn address(&mut self, of: &Spot, host: &str, port: u16) {
        if !is_host(host) {
            self.say(
                of.at("host"),
                format!("expected a host name or an IP address such as \"10.1.2.3\", without scheme and port, got {host:?}"),
            );
        }
        if port == 0 {
            self.say(of.at("port"), "expected 1 to 65535");
        }
    }
}

/// Whether text can be the name of a host or its address, an IPv6 address with or without brackets and zone.
pub(super) fn is_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let bare = bare.split_once('%').map_or(bare, |(address, _zone)| address);
    let is_name =
        !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
    is_name || bare.parse::<IpAddr>().is_ok()
}
