//! Tools that ask a client of 2026-07-28, by a result that requires input.
#![allow(deprecated, reason = "rmcp has all of sampling marked")]
#![allow(clippy::needless_pass_by_value, reason = "rmcp hands over values")]

use rmcp::{
    ErrorData, RoleServer,
    handler::server::tool::{InputResponses, RequestState},
    model::{CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, SealOptions},
    service::RequestContext,
    tool, tool_router,
};

use super::notifying::progress;
use crate::{ask, server::Everything};

fn say(text: impl Into<String>) -> Result<CallToolResponse, ErrorData> {
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
}

impl Everything {
    /// The state of a tool that is at this step.
    fn sealed(&self, tool: &str, step: u8) -> Option<String> {
        Some(self.codec.seal_with(&[step], &SealOptions::new().associated_data(tool.as_bytes())))
    }

    /// The step that the state says; 0 without a state.
    fn step(&self, tool: &str, state: Option<&str>) -> Result<u8, ErrorData> {
        let Some(state) = state else { return Ok(0) };
        let step = self.codec.open_with(state, tool.as_bytes()).map_err(ask::tampered)?;
        step.first().copied().ok_or_else(|| ask::tampered("it is empty"))
    }

    /// Asks for a confirmation, and says `done` once it is there with the state.
    fn confirm(
        &self,
        tool: &str,
        answers: &InputResponses,
        state: &RequestState,
        done: &str,
    ) -> Result<CallToolResponse, ErrorData> {
        let step = self.step(tool, state.0.as_deref())?;
        if step == 1 && ask::content(answers.0.as_ref(), "confirm", "ok").is_some() {
            return say(done);
        }
        let question = ask::field("Please confirm", "ok", "boolean")?;
        Ok(ask::required([("confirm", question)], self.sealed(tool, 1)).into())
    }
}

#[tool_router(router = input_tools, vis = "pub(crate)")]
impl Everything {
    #[tool(description = "Asks for a name")]
    fn test_input_required_result_elicitation(
        &self,
        answers: InputResponses,
    ) -> Result<CallToolResponse, ErrorData> {
        match ask::content(answers.0.as_ref(), "user_name", "name").and_then(|name| name.as_str()) {
            Some(name) => say(format!("Hello, {name}!")),
            None => {
                let question = ask::field("What is your name?", "name", "string")?;
                Ok(ask::required([("user_name", question)], None).into())
            }
        }
    }

    #[tool(description = "Asks the client's model")]
    fn test_input_required_result_sampling(
        &self,
        answers: InputResponses,
    ) -> Result<CallToolResponse, ErrorData> {
        const KEY: &str = "capital_question";
        match ask::answer(answers.0.as_ref(), KEY).and_then(|answer| answer["content"]["text"].as_str()) {
            Some(text) => say(text),
            None => {
                let question = ask::sampling("What is the capital of France?", 100)?;
                Ok(ask::required([(KEY, question)], None).into())
            }
        }
    }

    #[tool(description = "Asks for the client's roots")]
    fn test_input_required_result_list_roots(
        &self,
        answers: InputResponses,
    ) -> Result<CallToolResponse, ErrorData> {
        match ask::answer(answers.0.as_ref(), "client_roots").and_then(|answer| answer.get("roots")) {
            Some(roots) => say(format!("roots: {roots}")),
            None => Ok(ask::required([("client_roots", ask::roots()?)], None).into()),
        }
    }

    #[tool(description = "Asks for a confirmation, with a sealed state")]
    fn test_input_required_result_request_state(
        &self,
        answers: InputResponses,
        state: RequestState,
    ) -> Result<CallToolResponse, ErrorData> {
        self.confirm("test_input_required_result_request_state", &answers, &state, "state-ok")
    }

    #[tool(description = "Asks for a confirmation, and refuses a state that was changed")]
    fn test_input_required_result_tampered_state(
        &self,
        answers: InputResponses,
        state: RequestState,
    ) -> Result<CallToolResponse, ErrorData> {
        self.confirm("test_input_required_result_tampered_state", &answers, &state, "integrity-ok")
    }

    #[tool(description = "Asks for a name, a greeting and the roots at once, with a sealed state")]
    fn test_input_required_result_multiple_inputs(
        &self,
        answers: InputResponses,
        state: RequestState,
    ) -> Result<CallToolResponse, ErrorData> {
        const TOOL: &str = "test_input_required_result_multiple_inputs";
        self.step(TOOL, state.0.as_deref())?;
        let questions = [
            ("user_name", ask::field("What is your name?", "name", "string")?),
            ("greeting", ask::sampling("Generate a greeting", 50)?),
            ("client_roots", ask::roots()?),
        ];
        if questions.iter().all(|(key, _)| ask::answer(answers.0.as_ref(), key).is_some()) {
            return say("all inputs received");
        }
        Ok(ask::required(questions, self.sealed(TOOL, 1)).into())
    }

    #[tool(description = "Asks twice, with a sealed state between the rounds")]
    fn test_input_required_result_multi_round(
        &self,
        answers: InputResponses,
        state: RequestState,
    ) -> Result<CallToolResponse, ErrorData> {
        const TOOL: &str = "test_input_required_result_multi_round";
        const ROUNDS: [(&str, &str, &str); 2] = [
            ("step1", "Step 1: What is your name?", "name"),
            ("step2", "Step 2: What is your favorite color?", "color"),
        ];
        // The number of rounds that were asked. The last of them is over if its answer is here.
        let asked = self.step(TOOL, state.0.as_deref())?;
        let over = match asked.checked_sub(1).and_then(|last| ROUNDS.get(usize::from(last))) {
            Some((key, ..)) if ask::answer(answers.0.as_ref(), key).is_some() => asked,
            _ => asked.saturating_sub(1),
        };
        let Some(&(key, message, field)) = ROUNDS.get(usize::from(over)) else {
            return say("multi-round complete");
        };
        let question = ask::field(message, field, "string")?;
        Ok(ask::required([(key, question)], self.sealed(TOOL, over + 1)).into())
    }

    #[tool(description = "Asks for what the client can give")]
    fn test_input_required_result_capabilities(
        &self,
        answers: InputResponses,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let can = context.client_capabilities().unwrap_or_default();
        let mut questions = Vec::new();
        if can.elicitation.is_some() {
            questions.push(("elicit_input", ask::field("Elicitation input", "value", "string")?));
        }
        if can.sampling.is_some() {
            questions.push(("sample_input", ask::sampling("Sample request", 50)?));
        }
        questions.retain(|(key, _)| ask::answer(answers.0.as_ref(), key).is_none());
        if questions.is_empty() {
            return say("capabilities-ok");
        }
        Ok(ask::required(questions, None).into())
    }

    #[tool(description = "Needs a client with sampling")]
    fn test_missing_capability(&self, context: RequestContext<RoleServer>) -> Result<String, ErrorData> {
        if context.client_capabilities().is_some_and(|can| can.sampling.is_some()) {
            return Ok("Success".to_owned());
        }
        let needed = ClientCapabilities::builder().enable_sampling().build();
        Err(ErrorData::missing_required_client_capability(needed))
    }

    #[tool(description = "Asks after a progress notification")]
    async fn test_streaming_elicitation(
        &self,
        answers: InputResponses,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        progress(&context, 0.0, 1.0).await;
        match ask::answer(answers.0.as_ref(), "q") {
            Some(answer) => {
                let (action, content) = (&answer["action"], &answer["content"]);
                say(format!("Streaming elicitation: action={action}, content={content}"))
            }
            None => {
                let question = ask::field("Streaming?", "a", "string")?;
                Ok(ask::required([("q", question)], None).into())
            }
        }
    }
}
