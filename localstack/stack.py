"""The stack inside a running emulator: upload the zips, deploy the template as it is, say what came of it. Needs boto3."""
import hashlib
import json
import pathlib
import platform
import time

import boto3
import botocore.config
import botocore.exceptions

from home import REGION, ROOT, Problem

TEMPLATE = ROOT / "infra" / "template.yaml"
FUNCTIONS = ("ingest", "label", "assemble", "collect", "janitor", "api")


def client(service, port, **credentials):
    """A client of the emulator. The credentials are those that emulators take for the owner of the account."""
    credentials = credentials or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    config = botocore.config.Config(
        s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=60
    )
    return boto3.client(
        service, endpoint_url=f"http://127.0.0.1:{port}", region_name=REGION, config=config, **credentials
    )


def zips(folder):
    """The zips of all functions; none may be missing."""
    found = {name: pathlib.Path(folder) / f"{name}.zip" for name in FUNCTIONS}
    missing = [path.name for path in found.values() if not path.is_file()]
    if missing:
        raise Problem(f"`{folder}` has no {', '.join(missing)}\nhint: `infra/package` builds them, or give `--build`")
    return found


def fingerprint(found):
    """Changes with every byte of code or template."""
    sha = hashlib.sha256(TEMPLATE.read_bytes())
    for name, path in sorted(found.items()):
        sha.update(name.encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12]


def upload(port, stack, found, version):
    """Puts the zips and the template where CloudFormation takes them; says the bucket."""
    s3, bucket = client("s3", port), f"{stack}-code"
    try:
        s3.create_bucket(Bucket=bucket)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass
    for name, path in found.items():
        s3.put_object(Bucket=bucket, Key=f"{version}/{name}.zip", Body=path.read_bytes())
    s3.put_object(Bucket=bucket, Key=f"{version}/template.yaml", Body=TEMPLATE.read_bytes())
    return bucket


def deploy(port, stack, bucket, version, given=()):
    """Creates or updates the stack and waits; says its outputs."""
    cloudformation = client("cloudformation", port)
    parameters = {
        "CodeBucket": bucket,
        "CodePrefix": version,
        "Architecture": "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64",
        **dict(given),
    }
    request = {
        "StackName": stack,
        # The template is longer than a request may be.
        "TemplateURL": f"http://127.0.0.1:{port}/{bucket}/{version}/template.yaml",
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    try:
        if describe(cloudformation, stack) is None:
            cloudformation.create_stack(**request)
        else:
            cloudformation.update_stack(**request)
    except botocore.exceptions.ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise Problem(f"stack `{stack}` was refused: {error}") from error
    return wait(cloudformation, stack)


def describe(cloudformation, stack):
    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except botocore.exceptions.ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return next((it for it in found if it["StackStatus"] != "DELETE_COMPLETE"), None)


def wait(cloudformation, stack, seconds=120):
    until = time.monotonic() + seconds
    while True:
        found = describe(cloudformation, stack)
        status = found["StackStatus"] if found else "gone"
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            outputs = {it["OutputKey"]: it["OutputValue"] for it in found.get("Outputs", [])}
            # What LocalStack says of a resource that it does not know and left out.
            return {key: value for key, value in outputs.items() if not value.endswith("unknown")}
        if not status.endswith("_IN_PROGRESS") and "CLEANUP" not in status:
            raise Problem(f"stack `{stack}` ended as {status}\n{reasons(cloudformation, stack)}")
        if time.monotonic() > until:
            raise Problem(f"stack `{stack}` is still {status} after {seconds} s")
        time.sleep(0.1)


def reasons(cloudformation, stack):
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    failed = [it for it in events if "FAILED" in it["ResourceStatus"]]
    said = [f"  {it['LogicalResourceId']}: {it.get('ResourceStatusReason', 'no reason given')}" for it in reversed(failed)]
    return "\n".join(said) or "hint: the emulator's log says more"


def settings(endpoint, outputs):
    """The environment of a client, a worker or a test against this stack."""
    found = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        # Nobody here answers as the metadata service of an instance, and asking takes seconds.
        "AWS_EC2_METADATA_DISABLED": "true",
        "CELLMILL_STORE": f"s3://{outputs['Bucket']}",
        "CELLMILL_QUEUE": f"sqs://{outputs['QueuePrefix']}",
    }
    if "ApiUrl" in outputs:
        # The stack says http://<id>.execute-api.localhost:<port>, a name that not every machine resolves. The same door
        # has an address with a number.
        api = outputs["ApiUrl"].split("//", 1)[-1].split(".", 1)[0]
        found["CELLMILL_ENDPOINT"] = f"{endpoint}/_aws/execute-api/{api}"
    return found


def write(home, stack, version, outputs, found):
    home.env.write_text("".join(f"export {key}='{value}'\n" for key, value in found.items()))
    document = {"stack": stack, "version": version, "outputs": outputs, "environment": found}
    home.outputs.write_text(json.dumps(document, indent=2) + "\n")
    return document
