//! Upgrades, as far as they need files and processes.

use super::Shell;
use crate::control::{Act, Input, What};
use crate::service::engines::News;
use crate::service::socket::Call;
use crate::upgrade::{Candidate, Kept, examine};

impl Shell {
    /// Reads and hashes what is proposed beside the control loop; the answer waits for that.
    pub(super) fn examine(&self, call: Call) {
        let candidate = candidate_of(&call.act);
        let setup = self.setup.clone();
        let loaded = self.engines.deciding().facts().map(|f| f.sha256);
        let news = self.engines.news();
        tokio::spawn(async move {
            let examined = tokio::task::spawn_blocking(move || examine(&setup, loaded, &candidate)).await;
            let found = examined.unwrap_or_else(|e| Err(e.to_string())).map(Box::new);
            news.send(News::Examined { call, found }).await.ok();
        });
    }

    pub(in crate::service) async fn on_news(&mut self, news: News) {
        match news {
            News::Examined { call, found } => {
                let input = Input::Proposed { act: call.act, found };
                self.answer_to(input, call.answer).await;
            }
            News::Loaded { engine, result } => {
                if let Some(input) = self.engines.loaded(engine, result) {
                    self.step(self.control_time(), input).await;
                }
                self.facts = self.engines.facts();
                self.take_over_if_idle().await;
                self.publish_view();
            }
        }
    }

    /// An accepted version takes over between two decisions.
    pub(super) async fn take_over_if_idle(&mut self) {
        if self.controller.is_thinking() {
            return;
        }
        if let Some(facts) = self.engines.take_installed() {
            self.step(self.control_time(), Input::Installed(facts)).await;
        }
    }

    /// After whatever may have changed it: what decides, and what outlives a restart.
    pub(super) fn follow_upgrades(&mut self) {
        if self.kept_revision == self.controller.upgrades_revision() {
            return;
        }
        self.follow_setup();
        self.kept.lineage = self.controller.lineage().cloned();
        self.kept.trial = self.controller.trial().cloned();
        match self.kept.write(&Kept::path(&self.setup.site)) {
            Ok(()) => self.kept_revision = self.controller.upgrades_revision(),
            // Tried again with the next input.
            Err(error) => {
                tracing::error!(%error, "the upgrade is not kept yet: a restart would not know of it");
            }
        }
    }
}

fn candidate_of(act: &Act) -> Candidate {
    let What::ProposeUpgrade { model, sha256, prompts, .. } = &act.what else { return Candidate::default() };
    Candidate { model: model.clone(), sha256: sha256.clone(), prompts: prompts.clone() }
}
