//! The lab's door, wherever the lab is: commands with its address in the environment, and the api itself.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Ask, Aws};
use super::stack::Stack;
use crate::show::process::{Mill, Program, Ran};

/// One lab, standalone or on AWS.
#[derive(Clone, Debug)]
pub struct Door {
    program: Program,
    environment: Vec<(String, String)>,
    /// The api's address up to the path.
    base: String,
    aws: Aws,
}

impl Door {
    /// Of a stack: through its proxy, if it has one.
    pub fn of_stack(program: &Program, stack: &Stack) -> Result<Self> {
        Ok(Self {
            program: program.clone(),
            environment: stack.environment().to_vec(),
            base: stack.variable("CELLMILL_ENDPOINT")?.to_owned(),
            aws: stack.aws().clone(),
        })
    }

    /// Of a standalone: also signed, which it does not look at.
    pub fn of_mill(program: &Program, mill: &Mill) -> Self {
        Self {
            program: program.clone(),
            environment: vec![("CELLMILL_ENDPOINT".to_owned(), mill.url().to_owned())],
            base: mill.url().to_owned(),
            aws: Aws::new(mill.url()),
        }
    }

    /// A command that is not started yet.
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.program.command(args);
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, args: &[&str]) -> Result<Ran> {
        let settings: Vec<(&str, &str)> = self
            .environment
            .iter()
            .map(|(name, it)| (name.as_str(), it.as_str()))
            .collect();
        self.program.run_with(args, &settings).await
    }

    /// Runs a command that must end well, and reads its JSON.
    pub async fn json(&self, args: &[&str]) -> Result<Value> {
        let ran = self.run(&[args, &["--json"]].concat()).await?;
        let what = format!("cellmill {}", args.join(" "));
        ran.must_be_ok(&what)?.json().context(what)
    }

    /// A request to the api.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let own = self.base.strip_prefix(self.aws.endpoint());
        let own = own.context("the api answers at the endpoint")?;
        let ask = Ask {
            service: "execute-api",
            method,
            path: format!("{own}{path}"),
            query: query.to_vec(),
            headers: match body {
                Some(_) => vec![("content-type", "application/json".to_owned())],
                None => Vec::new(),
            },
            body: body
                .map(|it| it.to_string().into_bytes())
                .unwrap_or_default(),
        };
        let answer = self.aws.send(ask).await?;
        Ok((answer.status, answer.json().unwrap_or_default()))
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, said) = self.ask(Method::GET, path, &[], None).await?;
        ensure!(status.is_success(), "{path}: {status} {said}");
        Ok(said)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, said) = self.ask(Method::POST, path, &[], Some(body)).await?;
        ensure!(status.is_success(), "{path}: {status} {said}");
        Ok(said)
    }

    /// The states of keys, as `/api/v1/status` tells them.
    pub async fn states(&self, keys: &[String]) -> Result<Vec<String>> {
        let mut states = Vec::with_capacity(keys.len());
        for some in keys.chunks(1000) {
            let answer = self
                .post("/api/v1/status", &json!({ "keys": some }))
                .await?;
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            ensure!(items.len() == some.len(), "a state for each key");
            let state = |it: &Value| it["state"].as_str().unwrap_or_default().to_owned();
            states.extend(items.iter().map(state));
        }
        Ok(states)
    }
}
