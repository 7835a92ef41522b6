//! Asks the model ahead. In shadow nothing that the model says reaches a later prompt: history, twin and
//! outlook follow the recorded frames. So a second controller runs ahead through the same frames, its
//! questions are answered together, and the first one finds the answers there. An answer is only taken for
//! the very question it was given to; any other is asked when it comes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::open_loop::warmed;
use crate::control::{Controller, Effect, Input, Setup};
use crate::frame::Frame;
use crate::reason::{Backend, Completion, Failure, Request};

type Answer = Result<Completion, Failure>;

pub(super) struct Ahead<'f> {
    controller: Controller,
    frames: std::slice::Iter<'f, Frame>,
    reasoner: Arc<Backend>,
    at_once: u32,
    asked: VecDeque<(Timestamp, Request, JoinHandle<Answer>)>,
}

impl<'f> Ahead<'f> {
    pub(super) fn new(
        setup: Arc<Setup>,
        lead: &[Frame],
        frames: &'f [Frame],
        reasoner: Backend,
        at_once: u32,
    ) -> Self {
        Self {
            // Questions do not depend on what the guard remembers of writes.
            controller: warmed(setup, lead, &BTreeMap::new()),
            frames: frames.iter(),
            reasoner: Arc::new(reasoner),
            at_once: at_once.max(1),
            asked: VecDeque::new(),
        }
    }

    /// The answer to what is asked at `now`.
    pub(super) async fn answer(&mut self, now: Timestamp, request: Request) -> Answer {
        self.ask_ahead();
        while self.asked.front().is_some_and(|(at, ..)| *at < now) {
            self.asked.pop_front();
        }
        let same = self.asked.front().is_some_and(|(at, asked, _)| *at == now && *asked == request);
        let answer = match same.then(|| self.asked.pop_front()).flatten() {
            Some((.., answer)) => answer.await.unwrap_or_else(|e| Err(gone(&e))),
            None => self.reasoner.ask(self.patient(&request)).await,
        };
        self.ask_ahead();
        answer
    }

    fn ask_ahead(&mut self) {
        while self.asked.len() < self.at_once as usize {
            let Some((at, request)) = self.next_question() else { return };
            let (reasoner, patient) = (Arc::clone(&self.reasoner), self.patient(&request));
            let answer = tokio::spawn(async move { reasoner.ask(patient).await });
            self.asked.push_back((at, request, answer));
        }
    }

    /// Each waits for the others, which a plant of its own would not.
    fn patient(&self, request: &Request) -> Request {
        let deadline = request.deadline.saturating_mul(self.at_once as i32);
        Request { deadline, ..request.clone() }
    }

    fn next_question(&mut self) -> Option<(Timestamp, Request)> {
        for frame in self.frames.by_ref() {
            let now = frame.time;
            let effects = self.controller.handle(now, Input::Frame(frame.clone()));
            for effect in effects {
                if let Effect::Ask { ask, request } = effect {
                    let result = Err(Failure::NotRunning { why: "asked ahead".to_owned() });
                    self.controller.handle(now, Input::Reply { ask, result });
                    return Some((now, *request));
                }
            }
        }
        None
    }
}

fn gone(error: &tokio::task::JoinError) -> Failure {
    Failure::NotRunning { why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Body;
    use crate::decision;
    use crate::facts::example;
    use crate::prompt::Prompts;
    use crate::site::{self, Mode};

    fn setup(mode: Mode) -> Arc<Setup> {
        let mut site = example::site();
        site.mode = mode;
        site.model.backend = site::Backend::Local;
        let schema = decision::schema(&site);
        Arc::new(Setup { site, prompts: Prompts::load(None).unwrap(), schema })
    }

    /// Frames of four hours in which load and temperatures move.
    fn frames() -> Vec<Frame> {
        let frame = |i: i64| {
            let wave = (i as f64 / 20.0).sin();
            example::frame(60 * i, &[("it_load", 800.0 + 300.0 * wave), ("hall_a_inlet_max", 24.0 + wave)])
        };
        (0..240).map(frame).collect()
    }

    fn reply(setpoint: f64) -> Completion {
        let text = format!(
            r#"{{"assessment":"ok","evidence":[{{"signal":"it_load","value":800,"trend":"steady"}}],"setpoints":{{"chws_sp":{setpoint},"crah_supply_sp":20,"chw_dp_sp":150}},"rationale":"ok"}}"#
        );
        Completion { text, ..Completion::default() }
    }

    #[test]
    fn whatever_the_model_says_the_next_question_is_the_same() {
        let (setup, frames) = (setup(Mode::Shadow), frames());
        let schema = setup.schema.clone();
        let mut ahead = Ahead::new(Arc::clone(&setup), &[], &frames, Backend::None, 8);
        let mut controller = Controller::new(setup, 0);
        let (mut asked, mut read) = (0, 0);
        for frame in &frames {
            let now = frame.time;
            let mut inputs = vec![Input::Frame(frame.clone())];
            while let Some(input) = inputs.pop() {
                for effect in controller.handle(now, input) {
                    match effect {
                        Effect::Ask { ask, request } => {
                            // Reasons asked for again are of this run alone.
                            if request.schema == schema {
                                assert_eq!(ahead.next_question(), Some((now, *request)), "question {asked}");
                                asked += 1;
                            }
                            let result = match asked % 3 {
                                0 => Err(Failure::Unfinished { tokens: 7 }),
                                step => Ok(reply(8.0 + f64::from(step) * 0.5)),
                            };
                            inputs.push(Input::Reply { ask, result });
                        }
                        Effect::Record(Body::Decision(d)) => read += u32::from(d.path.decision.is_some()),
                        Effect::Record(_) | Effect::Heartbeat { .. } | Effect::Answer(_) => {}
                        Effect::AskCandidate { .. } | Effect::Stage(_) => {
                            unreachable!("there is no candidate")
                        }
                        Effect::Write { .. } => unreachable!("in shadow nothing is written"),
                    }
                }
            }
        }
        assert!(asked > 40 && read > 20, "{asked} asked, {read} read");
        assert_eq!(ahead.next_question(), None);
    }
}
