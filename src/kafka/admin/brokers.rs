//! One broker at a time, at the address that it advertises.

use std::time::Duration;

use crate::kafka::ask::Attempt;
use crate::kafka::client::Client;
use crate::kafka::error::Error;
use crate::kafka::msg::{ApiKey, ApiVersionsCall, VersionTable};
use crate::kafka::net::now;
use crate::kafka::net::pool::Lane;
use crate::kafka::state::cluster::Place;

impl Client {
    /// What one live broker speaks, asked at the address that it advertises, and how long a question and its answer take once
    /// the connection stands. One attempt: who asks wants to know whether it can be reached now.
    ///
    /// # Errors
    /// Why it cannot be reached, or what it answers instead.
    pub async fn broker_versions(&self, node: i32) -> Result<(VersionTable, Duration), Error> {
        let place = Place::Node(node);
        let patience = self.core.config.request_timeout;
        let ask = async || match self.core.ask(Lane::Control, &place, &ApiVersionsCall, patience).await {
            Ok(answer) if answer.error.is_ok() => Ok(answer),
            Ok(answer) => {
                let attempt = Attempt::code(answer.error, None);
                Err(attempt.error.api(ApiKey::ApiVersions).at_broker(self.core.place_name(&place)))
            }
            Err(attempt) => Err(attempt.error),
        };
        // The first one makes the connection.
        ask().await?;
        let started = now();
        let answer = ask().await?;
        Ok((VersionTable::new(answer.apis), now().saturating_duration_since(started)))
    }
}
