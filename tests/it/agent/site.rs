//! The site file of the agent under test.

pub(super) fn site_text(mqtt: u16, modbus: u16, model: &str) -> String {
    format!(
        r#"
name = "test"
plant = "air"
clock = "frames"
mode = "auto"
sample = "15s"
cadence = "1min"

[mqtt]
host = "127.0.0.1"
port = {mqtt}
watchdog = "3s"

[[device]]
name = "plc"
host = "127.0.0.1"
port = {modbus}
timeout = "400ms"
reopen_after = "50ms"

[link]
enable = {{ device = "plc", address = 0, type = "uint16" }}
heartbeat = {{ device = "plc", address = 1, type = "uint16" }}

[[signal]]
name = "inlet"
unit = "degC"
role = "it_inlet"
required = true
source = {{ topic = "t/frame" }}
range = [5, 45]
slew_per_min = 100
band = [18, 27]

[[signal]]
name = "it_load"
unit = "kW"
role = "it_load"
source = {{ topic = "t/frame" }}
range = [0, 1000]
slew_per_min = 500

[[setpoint]]
name = "chws_sp"
unit = "degC"
role = "chws"
register = {{ device = "plc", address = 2, scale = 0.1 }}
min = 6
max = 16
step = 0.5
rate_per_min = 0.5
dwell = "1min"
safe = 7
cools = "down"
deadband = 0.5

[envelope]
warming_pct_5min = 100
cooling_pct_5min = 100

[model]
backend = "openai"
url = "{model}"
name = "scripted"
deadline = "2s"

[audit]
path = "audit.db"
key = "audit.key"

[console]
listen = "127.0.0.1:0"
control_socket = "agent.sock"
"#
    )
}
