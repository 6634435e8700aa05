//! The scaling policy of the template, read as text: the very lines that are deployed.

use anyhow::{Context as _, Result};

use super::expression::Expression;

/// Target tracking: so many units for each task.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub expression: Expression,
    /// The text of the expression, for people.
    pub text: String,
    /// What the expression is held at.
    pub target: f64,
    pub scale_in_cooldown_s: f64,
    pub scale_out_cooldown_s: f64,
    /// The expression that starts the first task.
    pub wake: Expression,
}

impl Policy {
    /// The policies `<Class>Backlog` and `<Class>WakeAlarm`, and the default of the parameter that is their target.
    pub fn read(template: &str, class: &str) -> Result<Self> {
        let backlog = resource(template, &format!("{class}Backlog"))?;
        let alarm = resource(template, &format!("{class}WakeAlarm"))?;
        let parameter = field(backlog, "TargetValue")?;
        let parameter = parameter.trim_start_matches("!Ref").trim();
        let target = match parameter.parse() {
            Ok(number) => number,
            Err(_) => number(resource(template, parameter)?, "Default")?,
        };
        let text = field(backlog, "Expression")?;
        Ok(Self {
            expression: Expression::parse(text)?,
            text: text.to_owned(),
            target,
            scale_in_cooldown_s: number(backlog, "ScaleInCooldown")?,
            scale_out_cooldown_s: number(backlog, "ScaleOutCooldown")?,
            wake: Expression::parse(field(alarm, "Expression")?)?,
        })
    }
}

/// The lines of an entry that is indented by two, up to the next one.
fn resource<'a>(template: &'a str, name: &str) -> Result<&'a str> {
    let head = format!("\n  {name}:\n");
    let (_, rest) = template
        .split_once(&head)
        .with_context(|| format!("the template has no `{name}`"))?;
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        let is_inside = line.starts_with("   ") || line.trim().is_empty();
        if !is_inside {
            break;
        }
        end += line.len();
    }
    Ok(&rest[..end])
}

/// The value of the first field of this name.
fn field<'a>(lines: &'a str, name: &str) -> Result<&'a str> {
    let head = format!("{name}:");
    let found = lines.lines().find_map(|line| {
        let line = line.trim_start().trim_start_matches("- ");
        line.strip_prefix(&head)
    });
    let value = found.with_context(|| format!("there is no `{name}`"))?;
    Ok(value.trim().trim_matches(['"', '\'']))
}

fn number(lines: &str, name: &str) -> Result<f64> {
    let text = field(lines, name)?;
    text.parse()
        .with_context(|| format!("`{name}` is `{text}`, not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "\
Parameters:
  UnitsPerWorker:
    Type: Number
    Default: 3
Resources:
  GpuBacklog:
    Type: AWS::ApplicationAutoScaling::ScalingPolicy
    Properties:
      TargetTrackingScalingPolicyConfiguration:
        TargetValue: !Ref UnitsPerWorker
        ScaleOutCooldown: 60
        ScaleInCooldown: 300
        CustomizedMetricSpecification:
          Metrics:
            - Id: backlog
              Expression: (waiting + leased) / tasks
  # The first one.
  GpuWakeAlarm:
    Properties:
      Metrics:
        - Id: wake
          Expression: IF(waiting > 0, 1, 0)
  Other:
    Default: 9
";

    #[test]
    fn a_policy_is_read_with_the_default_of_its_parameter() {
        let policy = Policy::read(TEMPLATE, "Gpu").unwrap();
        assert!((policy.target - 3.0).abs() < 1e-9);
        assert!((policy.scale_in_cooldown_s - 300.0).abs() < 1e-9);
        assert_eq!(policy.text, "(waiting + leased) / tasks");
        let error = Policy::read(TEMPLATE, "Cpu").unwrap_err();
        assert!(error.to_string().contains("CpuBacklog"));
    }
}
