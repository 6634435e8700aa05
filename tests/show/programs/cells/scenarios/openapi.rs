//! The document of the API: it is as the standard wants it, and every path of it answers.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::figure::Figures;
use cellmill_tests::show::http::{Client, Sent, Upload, text};
use cellmill_tests::show::place::{Show, Wish};
use cellmill_tests::show::process::Mill;
use reqwest::Method;
use serde_json::{Value, json};

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let folder = show.folders()?.remove(0);
    let root = show.make_place("openapi")?.join("root");
    let mill = Mill::up(&show.program, &root).await?;
    let image = folder.images.first().context("the data has an image")?;
    let content = fs::read(&image.path).context("read an image")?;
    let upload = Upload {
        root: "hospital",
        batch: "b",
        case: "c",
        date: None,
        name: &image.name,
        label_type: None,
        content: &content,
    };
    let Sent::Stored(key) = mill.client().upload(&upload).await? else {
        anyhow::bail!("an image was not taken");
    };
    mill.client()
        .decided(&key, std::time::Duration::from_secs(30))
        .await?;
    let wish = Wish {
        dir: "Here",
        data_type: "1",
        batches: vec!["b"],
        waits: true,
    };
    show.make_dataset(&mill, &wish).await?;

    let document = mill.client().get("/openapi.json", &[]).await?;
    let problems = problems(&document);
    for problem in &problems {
        eprintln!("  {problem}");
    }
    figures.exactly("openapi.problems", problems.len(), "problems", 0);
    let known = known_things(mill.client(), &key).await?;
    let (mut n, mut n_answer) = (0, 0);
    for (path, method, operation) in operations(&document) {
        n += 1;
        let said = answer(mill.client(), path, method, operation, &known).await?;
        match said {
            None => n_answer += 1,
            Some(said) => eprintln!("  {method} {path}: {said}"),
        }
    }
    figures.exactly("openapi.operations_that_answer", n_answer, "operations", n);
    figures.holds("openapi.still_serving", mill.client().is_healthy().await);
    mill.stop().await
}

/// Values for parameters, by their names.
async fn known_things(client: &Client, key: &str) -> Result<HashMap<&'static str, String>> {
    // A table and a label type, so that asking for one finds one.
    let table = json!({"name": "Here", "classes": [{"id": 9001, "name": "odd"}]});
    let settings = json!({"title": "Here", "algorithm": 1100});
    for (path, body) in [("classes", &table), ("label-types", &settings)] {
        let path = format!("/api/v1/{path}/Here");
        let (status, said) = client.ask(Method::PUT, &path, &[], Some(body)).await?;
        ensure!(
            status.is_success(),
            "{path}: {status} {}",
            String::from_utf8_lossy(&said)
        );
    }
    let known = [
        ("batch", "b"),
        ("case", "c"),
        ("dir", "Here"),
        ("kind", "data"),
        ("name", "Here"),
        ("path", "info.json"),
        ("token", "nothing"),
        ("key", key),
    ];
    Ok(known
        .into_iter()
        .map(|(name, it)| (name, it.to_owned()))
        .collect())
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            if METHODS.contains(&method.as_str()) {
                operations.push((path.as_str(), method.as_str(), operation));
            }
        }
    }
    operations
}

/// `None`: the operation exists and answered for itself, be it with a refusal.
async fn answer(
    client: &Client,
    path: &str,
    method: &str,
    operation: &Value,
    known: &HashMap<&str, String>,
) -> Result<Option<String>> {
    let mut filled = path.to_owned();
    for name in names_in(path) {
        let value = known.get(name.as_str()).map_or("nothing", String::as_str);
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] == "query" && parameter["required"] == true {
            let name = parameter["name"].as_str().unwrap_or_default();
            query.push((name, known.get(name).map_or("nothing", String::as_str)));
        }
    }
    let body = operation.get("requestBody").map(|_| json!({}));
    let verb = Method::from_bytes(method.to_uppercase().as_bytes()).context("a method")?;
    let (status, bytes) = client.ask(verb, &filled, &query, body.as_ref()).await?;
    let said = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let declared = &operation["responses"];
    let is_declared = [status.as_str(), "default"]
        .iter()
        .any(|it| declared.get(it).is_some());
    let is_answer = !status.is_server_error() && status != 404 && status != 405 && is_declared;
    Ok((!is_answer).then(|| format!("{status} {said}")))
}

/// What is wrong with a document, in words.
fn problems(document: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    if !text(&document["openapi"]).starts_with("3.") {
        problems.push("`openapi` is no 3.x".to_owned());
    }
    for field in ["title", "version"] {
        if text(&document["info"][field]).is_empty() {
            problems.push(format!("`info.{field}` is missing"));
        }
    }
    let operations = operations(document);
    if operations.is_empty() {
        problems.push("there are no operations".to_owned());
    }
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations {
        let at = format!("{method} {path}");
        if !path.starts_with('/') {
            problems.push(format!("{at}: a path begins with `/`"));
        }
        let id = text(&operation["operationId"]);
        if id.is_empty() || !ids.insert(id) {
            problems.push(format!("{at}: its operationId is missing or used twice"));
        }
        if operation["responses"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
        {
            problems.push(format!("{at}: it has no responses"));
        }
        problems.extend(
            parameter_problems(path, operation)
                .into_iter()
                .map(|it| format!("{at}: {it}")),
        );
    }
    dangling(document, document, &mut problems);
    problems
}

/// Path parameters are those of the path, required, each with a schema.
fn parameter_problems(path: &str, operation: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let parameters: Vec<&Value> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let mut seen = BTreeSet::new();
    for parameter in &parameters {
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        if !["path", "query", "header", "cookie"].contains(&place.as_str()) {
            problems.push(format!("`{name}` is in `{place}`"));
        }
        if parameter.get("schema").is_none() && parameter.get("content").is_none() {
            problems.push(format!("`{name}` has no schema"));
        }
        if place == "path" && parameter["required"] != true {
            problems.push(format!("`{name}` of the path is not required"));
        }
        if !seen.insert((place, name.clone())) {
            problems.push(format!("`{name}` is declared twice"));
        }
    }
    let declared: BTreeSet<String> = seen
        .into_iter()
        .filter(|it| it.0 == "path")
        .map(|it| it.1)
        .collect();
    if declared != names_in(path) {
        problems.push(format!(
            "the path has {:?}, declared are {declared:?}",
            names_in(path)
        ));
    }
    problems
}

fn names_in(path: &str) -> BTreeSet<String> {
    let parts = path.split('{').skip(1);
    parts
        .filter_map(|it| it.split_once('}'))
        .map(|it| it.0.to_owned())
        .collect()
}

/// Every `$ref` names something in the document.
fn dangling(document: &Value, value: &Value, problems: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref") {
                let target = to.strip_prefix('#').and_then(|it| document.pointer(it));
                if target.is_none() {
                    problems.push(format!("`{to}` names nothing"));
                }
            }
            fields
                .values()
                .for_each(|it| dangling(document, it, problems));
        }
        Value::Array(items) => items.iter().for_each(|it| dangling(document, it, problems)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_looked_at() {
        let good = json!({
            "openapi": "3.1.0",
            "info": {"title": "t", "version": "1"},
            "paths": {"/a/{b}": {"get": {
                "operationId": "a",
                "parameters": [{"name": "b", "in": "path", "required": true, "schema": {"type": "string"}}],
                "responses": {"200": {"$ref": "#/components/responses/R"}}}}},
            "components": {"responses": {"R": {"description": "d"}}}
        });
        assert_eq!(problems(&good), Vec::<String>::new());
        let broken = [
            ("/paths/~1a~1{b}/get/parameters/0/required", json!(false)),
            ("/paths/~1a~1{b}/get/parameters/0/name", json!("c")),
            (
                "/paths/~1a~1{b}/get/responses/200/$ref",
                json!("#/components/responses/S"),
            ),
            ("/paths/~1a~1{b}/get/operationId", json!("")),
            ("/openapi", json!("2.0")),
        ];
        for (at, value) in broken {
            let mut document = good.clone();
            *document.pointer_mut(at).unwrap() = value;
            assert_eq!(problems(&document).len(), 1, "{at}");
        }
    }
}
