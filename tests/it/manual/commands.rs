//! Every command of the manual, in the order in which it is run, or why it is not.

use super::Stage::{self, Commissioning, Init, Never, Running, Steps, Stopped};

/// A command as the manual has it, where it is run, and the exit codes that the manual says it may have there.
pub(super) struct Row {
    pub(super) command: &'static str,
    pub(super) stage: Stage,
    pub(super) codes: &'static [i32],
    /// What is typed.
    pub(super) typed: &'static str,
}

const fn run(stage: Stage, command: &'static str) -> Row {
    Row { command, stage, codes: &[0], typed: "" }
}

const fn answers(stage: Stage, codes: &'static [i32], command: &'static str) -> Row {
    Row { command, stage, codes, typed: "" }
}

const fn typed(stage: Stage, typed: &'static str, command: &'static str) -> Row {
    Row { command, stage, codes: &[0], typed }
}

const fn not(why: &'static str, command: &'static str) -> Row {
    Row { command, stage: Never(why), codes: &[], typed: "" }
}

const HOURS: &str = "a measurement of hours: `bench` tests have small ones, .ci/run the quick one";
const TRAINING: &str =
    "makes or examines a model, for long: `reason`, `cli` and the library's tests have small ones";
const PART: &str = "a part of a command that is run elsewhere";
const MANAGED: &str = "takes a service manager: `operations` checks the unit, and reloads by its signal";
const BUILDS: &str = "builds everything anew: .ci/run has ./demo and ./check, `operations` the package";

pub(super) const ROWS: &[Row] = &[
    // A first site.
    answers(Init, &[1], "isotherm init --rebirth"),
    answers(
        Init,
        &[0, 1],
        "isotherm init --broker 10.0.0.5 --listen 60 --scan chiller1=10.0.0.21/1:holding:0-99",
    ),
    answers(
        Init,
        &[1],
        "isotherm init --yes --scan plc=10.0.0.21:holding:0-9 --setpoint 'name = \"chws_sp\", unit = \"degC\", register = { device = \"plc\", address = 2, scale = 0.1 }, min = 6, max = 16, step = 0.5, rate_per_min = 0.5, safe = 7, cools = \"down\"'",
    ),
    run(Commissioning, "isotherm check --site site.toml"),
    answers(Commissioning, &[0, 1], "isotherm doctor --site site.toml"),
    typed(Commissioning, CONSENT, "isotherm check --site site.toml --accept --who \"A. Smith\""),
    typed(Commissioning, CONSENT, "isotherm check --site site.toml --accept --watchdog --who \"A. Smith\""),
    run(Commissioning, "isotherm run --site site.toml"),
    typed(Steps, CONSENT, "isotherm check --site site.toml --steps 2 --who \"A. Smith\""),
    not(PART, "isotherm check --steps"),
    answers(Running, &[0, 1], "isotherm doctor --site FILE"),
    // Beside a running agent.
    run(Running, "isotherm audit list --site site.toml --kind decision --limit 5"),
    run(Running, "isotherm audit show 1234 --site site.toml"),
    run(Running, "isotherm audit list --site site.toml --rule rate_limit"),
    run(
        Running,
        "isotherm audit list   --site site.toml --kind decision --since 2026-01-01T00:00:00Z --rule rate_limit",
    ),
    run(Running, "isotherm audit list --site site.toml --kind event"),
    run(Running, "isotherm audit list --site site.toml"),
    run(Running, "isotherm audit verify --site site.toml"),
    run(Running, "isotherm audit export evidence --site site.toml"),
    run(Running, "isotherm audit export evidence/ --site site.toml"),
    run(Running, "isotherm audit verify --site site.toml --against checkpoints.jsonl --key public-key.hex"),
    typed(
        Running,
        "correct horse battery\n",
        "isotherm console user add ann --role operator --site site.toml",
    ),
    run(Running, "isotherm console user list --site site.toml"),
    run(Running, "isotherm console user remove ann --site site.toml"),
    run(Running, "isotherm console token create grafana --role viewer --for 365d --site site.toml"),
    run(Running, "isotherm console token list --site site.toml"),
    run(Running, "isotherm console token revoke grafana --site site.toml"),
    run(
        Running,
        "isotherm upgrade propose --prompts prompts/ --shadow 12h --site site.toml --who ann --why \"shorter\"",
    ),
    run(Running, "isotherm upgrade status --site site.toml"),
    run(
        Running,
        "isotherm upgrade accept --site site.toml --who ann --why \"agrees, and is verified more often\"",
    ),
    run(Running, "isotherm upgrade revert --site site.toml --who ann --why \"holds too long at night\""),
    // The model is on a server here, of which there is no hash.
    answers(
        Running,
        &[1],
        "isotherm upgrade propose --model new.gguf --sha256 3f9a --site site.toml --who ann --why \"trained on our winter\"",
    ),
    run(Running, "isotherm operator --site site.toml --why \"reviewed a week of shadow\" mode advise"),
    run(Running, "isotherm operator --site site.toml --why \"commissioned\" mode auto"),
    run(Running, "isotherm operator --site site.toml --why \"commissioned\" mode advise"),
    run(Running, "isotherm operator --site site.toml --why \"smells odd\" mode manual"),
    // With its log.
    run(Stopped, "isotherm replay LOG --verify"),
    run(Stopped, "isotherm replay isotherm-audit.db --verify"),
    run(Stopped, "isotherm replay LOG --site site.toml --what-if other.toml"),
    run(Stopped, "isotherm replay isotherm-audit.db --site site.toml --what-if other.toml"),
    run(
        Stopped,
        "isotherm replay audit.db --site audit.db --from 2026-07-01T12:00:00Z --to 2026-07-01T18:00:00Z --what-if other.toml --json --steps",
    ),
    run(Stopped, "isotherm audit archive archive/ --site site.toml --keep-days 90"),
    // Not here.
    not(BUILDS, "./demo"),
    not(BUILDS, "./demo --help"),
    not(BUILDS, "./demo --headless --json"),
    not(BUILDS, "./demo --plant air --hours 6"),
    not(BUILDS, "isotherm demo --headless --json --hours 1"),
    not(BUILDS, "./check"),
    not(BUILDS, "packaging/deb"),
    not(MANAGED, "systemctl reload isotherm"),
    not(HOURS, "isotherm bench control --out results"),
    not(HOURS, "isotherm bench control --quick"),
    not(HOURS, "isotherm bench control --controllers fixed,llm --out results"),
    not(HOURS, "isotherm bench control --scenarios 'liquid-*' --seeds 10 --hours 48 --jobs 4 --json"),
    not(HOURS, "isotherm bench control --controllers fixed,trim,pid,mpc,rl --out results"),
    not(HOURS, "isotherm bench control --controllers fixed,mpc,rl,llm --seeds 1 --out results"),
    not(HOURS, "isotherm bench control --controllers fixed,mpc,rl"),
    not(
        HOURS,
        "isotherm bench control --controllers llm --scenarios … --seeds 1 --hours 12 --model ranks/rank-64.gguf",
    ),
    not(HOURS, "isotherm bench hindsight"),
    not(HOURS, "isotherm bench log --out data"),
    not(HOURS, "isotherm bench log --out data --seeds 8"),
    not(HOURS, "isotherm bench resolution --seeds 3 --plot docs/img/resolution.svg"),
    not(HOURS, "isotherm bench workload --seeds 5"),
    not(TRAINING, "isotherm model compress IN.gguf OUT.gguf --rank 96 --rope-dims 32"),
    not(
        TRAINING,
        "isotherm model compress models/smollm2-135m-instruct-q8_0.gguf OUT.gguf --rank 96 --rope-dims 32",
    ),
    not(TRAINING, "isotherm model eval models/isotherm.gguf --cache q8_0"),
];

/// Whoever is asked for consent types the setpoint's name, and for the others nothing.
const CONSENT: &str = "chws_sp\n\n\n";
