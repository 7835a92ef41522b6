//! A rationale says what is done and why. What is done follows from the setpoints, so it is not left to the model: from
//! where its rationale begins, a reply is held to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MAX_RATIONALE;
use super::schema::literally;
use crate::facts::{Facts, moved};
use crate::prose::capital;
use crate::site::Name;
use crate::units::Finite;

/// Characters that a reason needs at least.
const ROOM: usize = 80;
/// Where the rationale of a reply begins, behind its setpoints.
const BEGINS: &str = r#","rationale":""#;

/// The setpoints as they are now: enough to say what a choice of them does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Account(BTreeMap<Name, Now>);

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Now {
    value: Option<Finite>,
    decimals: u8,
}

impl Account {
    #[must_use]
    pub fn new(facts: &Facts) -> Self {
        let setpoints = facts.setpoints.iter();
        Self(setpoints.map(|s| (s.name.clone(), Now { value: s.present, decimals: s.decimals })).collect())
    }

    /// The moves in the words of the prompt.
    fn done(&self, chosen: &BTreeMap<Name, Finite>) -> String {
        let said: Vec<String> = self
            .0
            .iter()
            .filter_map(|(name, now)| {
                let to = moved(now.value, *chosen.get(name)?, now.decimals)?;
                let verb = if now.value.is_some_and(|value| to > value) { "raise" } else { "lower" };
                Some(format!("{verb} {name} to {to}"))
            })
            .collect();
        if said.is_empty() { "Hold all setpoints".to_owned() } else { capital(&said.join(", ")) }
    }

    /// The regular expression of a rationale that begins with what is done; `None` where that leaves no room for why.
    pub(super) fn rationale(&self, chosen: &BTreeMap<Name, Finite>) -> Option<String> {
        let done = self.done(chosen);
        let left = MAX_RATIONALE.checked_sub(done.len()).filter(|left| *left > ROOM)?;
        // A full stop ends what is done, so that what follows is read by itself.
        Some(format!("{}\\. [^\"\\\\\\n]{{1,{}}}", literally(&done), left - 2))
    }

    /// The regular expression of what is left of a reply whose setpoints are written and whose rationale is not begun;
    /// `None` anywhere else.
    #[must_use]
    pub fn rest(&self, reply: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Reply {
            setpoints: BTreeMap<Name, Finite>,
        }
        // A token may hold a part of what leads to the rationale.
        let (left, before) = (0..=BEGINS.len()).find_map(|written| {
            let (written, left) = BEGINS.split_at_checked(written)?;
            let before = reply.strip_suffix(written.as_bytes()).filter(|before| before.ends_with(b"}"))?;
            Some((left, before))
        })?;
        let Reply { setpoints } = serde_json::from_slice(&[before, b"}"].concat()).ok()?;
        Some(format!("{}{}\"\\}}", literally(left), self.rationale(&setpoints)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::example;

    fn account() -> Account {
        Account::new(&example::facts(&[]))
    }

    fn reply(chws: &str, end: &str) -> String {
        format!(
            r#"{{"assessment":"calm","evidence":[],"setpoints":{{"chws_sp":{chws},"crah_supply_sp":20,"chw_dp_sp":150}}{end}"#
        )
    }

    #[test]
    fn what_is_left_begins_with_what_is_done_and_ends_the_reply() {
        let rest = account().rest(reply("8.5", BEGINS).as_bytes()).unwrap();
        assert!(rest.starts_with("Lower chws_sp to 8\\.5\\. "), "{rest}");
        assert!(rest.ends_with("}\"\\}"), "{rest}");
        let held = account().rest(reply("9", BEGINS).as_bytes()).unwrap();
        assert!(held.starts_with("Hold all setpoints\\. "), "{held}");
        for written in 0..BEGINS.len() {
            let (written, left) = BEGINS.split_at(written);
            let rest = account().rest(reply("9", written).as_bytes());
            assert_eq!(rest.unwrap(), format!("{}{held}", literally(left)));
        }
    }

    #[test]
    fn nothing_is_said_anywhere_else_in_a_reply() {
        for end in [r#","rationale":"L"#, r#","rationale":" "#, r#","rationale":"}"#, "}"] {
            assert_eq!(account().rest(reply("8.5", end).as_bytes()), None, "{end}");
        }
        let whole = reply("8.5", BEGINS);
        let begun = |to: &str| whole.split_at(whole.find(to).unwrap() + to.len()).0;
        for to in ["{", "calm", "[]", "\"setpoints\":{", "8.5", "150"] {
            assert_eq!(account().rest(begun(to).as_bytes()), None, "{to}");
        }
        assert_eq!(account().rest(BEGINS.as_bytes()), None);
        assert_eq!(account().rest(b"\xff}"), None);
    }
}
