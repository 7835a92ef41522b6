//! The status and the alarm word of the input registers.

/// Alarm word, one bit each.
pub mod alarm {
    pub const CHILLER_TRIPPED: u16 = 1;
    pub const MAP_CLAMPED: u16 = 1 << 1;
    pub const SETPOINT_CLAMPED: u16 = 1 << 2;
    pub const PUMP_LOST: u16 = 1 << 3;
    pub const FAN_LOST: u16 = 1 << 4;
    pub const TOO_WARM: u16 = 1 << 5;
    pub const GPU_THROTTLED: u16 = 1 << 6;
    pub const HEARTBEAT_LOST: u16 = 1 << 7;
    pub const CONDENSING: u16 = 1 << 8;
}

/// Status word, one bit each.
pub mod status {
    pub const REMOTE_IN_FORCE: u16 = 1;
    pub const ENABLED: u16 = 1 << 1;
    pub const HEARTBEAT_ALIVE: u16 = 1 << 2;
    pub const ECONOMIZING: u16 = 1 << 3;
}
