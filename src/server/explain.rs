//! What would become of a request, on the live process: both lanes asked, and where it is wanted a real request made.

use super::control::Served;
use crate::cache::outcome::Reason;
use crate::express;
use crate::proxy::explain::{self, Asked, Explanation, Question};
use crate::proxy::probe::{Fetched, Probe, Probed};
use tokio::sync::oneshot;

/// The process has no thread to make it on, or that thread has too many to make.
const BUSY: &str =
    "no request can be made now: the proxy is ending, or has too many to make already; ask again";

/// As the gate of the question says it of methods.
const CHANGES: &str =
    "by a rule of the route (`on_write`) this request changes something; ask without a fetch";

/// Whether a rule says that it changes something, though its method does not.
fn changes(explanation: &Explanation) -> bool {
    let cache = explanation.cache.as_ref();
    let reason = cache.and_then(|cache| cache.lookup.outcome.reason);
    reason == Some(Reason::OnWrite)
}

impl Served {
    /// Explains what would become of a request; with what comes of a real one, where that is asked for.
    ///
    /// # Errors
    /// What is wrong with the question.
    pub async fn explain_now(&self, question: serde_json::Value) -> Result<Explanation, String> {
        let question: Question = serde_json::from_value(question).map_err(|it| it.to_string())?;
        let asked = Asked::new(&question).map_err(|fault| fault.to_string())?;
        let mut explanation = self.explained(&asked);
        if question.fetch {
            if changes(&explanation) {
                return Err(CHANGES.to_owned());
            }
            explanation.add_fetched(self.fetched(&asked).await?);
        }
        Ok(explanation)
    }

    fn explained(&self, asked: &Asked) -> Explanation {
        let (site, limits) = (self.site.load_full(), self.shared.limits.load());
        let client = asked.client();
        let mut explanation = explain::explain(&site, asked, client.clone(), &limits);
        explanation.express = express::would_answer(&site, asked.octets(), &limits, &client);
        explanation
    }

    async fn fetched(&self, asked: &Asked) -> Result<Fetched, String> {
        let limits = (**self.shared.limits.load()).clone();
        let request = asked
            .through_the_gate(&limits)
            .map_err(|refusal| refusal.message.to_owned())?;
        let (answer, fetched) = oneshot::channel();
        let probe = Probe {
            request,
            client: asked.client(),
            limits,
            answer,
        };
        self.probes.try_send(probe).map_err(|_| BUSY.to_owned())?;
        let Probed { fetched, entry } = fetched.await.map_err(|_| BUSY.to_owned())?;
        if let Some(entry) = entry {
            self.shared.access_log.record(*entry);
        }
        Ok(fetched)
    }
}
