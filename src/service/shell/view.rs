//! What a console or an operator's query sees.

use super::Shell;

impl Shell {
    pub(super) fn publish_view(&self) {
        self.view.send_replace(serde_json::json!({
            "site": self.setup.site.name,
            "setup_revision": self.setup_revision,
            "simulated": self.simulated,
            "time": self.control_time(),
            "mode": self.controller.mode(),
            "mode_given": self.controller.mode_given(),
            "in_charge": self.controller.in_charge(),
            "emergency": self.controller.in_emergency(),
            "plant_link": self.plant_up,
            "source_link": self.source_up,
            "audit_ok": self.audit_lost.is_none(),
            "records": self.store.next_seq().map(|next| next - 1),
            "memory_rung": self.controller.rung(),
            "next_decision": self.controller.next_decision(),
            "decide_every_s": self.controller.pace().decide.as_secs_f64(),
            "sample_every_s": self.controller.pace().sample.as_secs_f64(),
            "advice": self.controller.advice().map(|(decision, expires)| serde_json::json!({ "decision": decision, "expires": expires })),
            "thinking": self.controller.is_thinking(),
            "overrides": self.controller.overrides().map(|(setpoint, value, until, given)| {
                serde_json::json!({ "setpoint": setpoint, "value": value, "until": until,
                    "who": given.map(|g| &g.who), "why": given.map(|g| &g.why), "from": given.map(|g| g.from) })
            }).collect::<Vec<_>>(),
            "manual_holds": self.controller.manual_holds().map(|(setpoint, from, until)| {
                serde_json::json!({ "setpoint": setpoint, "from": from, "until": until })
            }).collect::<Vec<_>>(),
            "floors": self.controller.floors(),
            "directives": self.controller.directives().iter().map(|d| {
                serde_json::json!({ "text": d.text, "who": d.who, "from": d.from, "until": d.until,
                    "enforced": !d.limits.is_empty(), "meaning": d.meaning() })
            }).collect::<Vec<_>>(),
            "alarms": self.controller.alarms(),
            "frame": self.controller.frame(),
            "last_decision": self.last_decision,
            "headroom": self.headroom.shown(),
            "model": self.facts,
            "model_backend": self.setup.site.model.backend,
            "prompt": { "template": self.controller.setup().prompts.template(), "sha256": self.controller.setup().prompts.sha256() },
            "upgrade": self.controller.upgrade_shown(self.control_time()),
            "stats": self.stats,
        }));
    }
}
