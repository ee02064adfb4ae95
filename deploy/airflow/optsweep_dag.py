"""optsweep in Airflow: reconcile, then gate, then whatever ships the audience.

Two DAGs that do the same, by two operators; keep the one that you want:

- optsweep_kubernetes: a pod for each task, as the Helm chart makes them;
- optsweep_bash: the program on the worker. Only where all tasks run on one
  worker that keeps its disk: the workspace is a folder there.

What an exit code means for Airflow (README, "Exit codes"):

| code    | task                | because                                            |
|---------|---------------------|----------------------------------------------------|
| 0       | success             | all was checked and written                        |
| 1, 130  | failed, tried again | the same command goes on where it was              |
| 5       | failed, tried again | another run is at work; it will be over            |
| 2 3 4 6 | failed, not again   | somebody must look; a retry would say the same     |
| 7       | failed, not again   | the gate is shut: nothing may leave the house      |

A failed gate fails the task, and `export` keeps its default trigger rule, so
nothing is shipped. Never make it a skipped one: a skip can be passed over.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

from airflow.exceptions import AirflowException, AirflowFailException

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.bash import BashOperator

try:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
except ImportError:  # without the provider there is the bash variant only
    KubernetesPodOperator = None

# Trying again does not help after these.
FINAL = frozenset({2, 3, 4, 6, 7})

IMAGE = os.environ.get("OPTSWEEP_DAG_IMAGE", "registry.example.com/optsweep:v1.2.3")
NAMESPACE = os.environ.get("OPTSWEEP_DAG_NAMESPACE", "ads")
JOB_FILE = os.environ.get("OPTSWEEP_DAG_JOB_FILE", "/etc/optsweep/crm.yaml")
TABLE = os.environ.get("OPTSWEEP_DAG_TABLE", "audience")

RUN = ["run", "--config", JOB_FILE]
GATE = ["gate", "--config", JOB_FILE, "--table", TABLE, "--max-age", "24h"]

COMMON = {
    "schedule": "0 4 * * *",
    "start_date": datetime(2026, 1, 1, tzinfo=timezone.utc),
    "catchup": False,  # one run repairs any gap
    "max_active_runs": 1,  # one run at a time
    "tags": ["privacy", "optsweep"],
}
# Above limits.max_duration (20h), so that optsweep stops first and says why.
RUN_LIMITS = {"retries": 3, "retry_delay": timedelta(minutes=10), "execution_timeout": timedelta(hours=22)}
GATE_LIMITS = {"retries": 2, "retry_delay": timedelta(minutes=2), "execution_timeout": timedelta(hours=2)}


def for_good(error: AirflowException, code: int | None) -> AirflowException:
    """The error to raise: one that Airflow does not try again, if it must not."""
    if code in FINAL:
        return AirflowFailException(f"optsweep ended with {code}: see deploy/runbooks/exit-{code}.md")
    return error


def exit_code_in(message: str) -> int | None:
    """The code in what BashOperator says: "... non-zero exit code 7."."""
    words = message.replace(".", " ").split()
    for before, code in zip(words, words[1:]):
        if before == "code" and code.isdigit():
            return int(code)
    return None


def exit_code_of(remote_pod, container: str) -> int | None:
    """The code with which a container of a pod has ended."""
    for status in (remote_pod.status.container_statuses if remote_pod and remote_pod.status else None) or []:
        if status.name == container and status.state and status.state.terminated:
            return status.state.terminated.exit_code
    return None


class OptsweepBash(BashOperator):
    """The program on the worker; final exit codes are not tried again."""

    def execute(self, context):
        try:
            return super().execute(context)
        except AirflowException as e:
            raise for_good(e, exit_code_in(str(e))) from e


def bash(task_id: str, args: list[str], **limits: object) -> BashOperator:
    return OptsweepBash(
        task_id=task_id,
        bash_command=" ".join(["exec optsweep", *args]),
        env={"OPTSWEEP_LOG_FORMAT": "json", "OPTSWEEP_PROGRESS": "none"},
        append_env=True,
        skip_on_exit_code=[],  # no task here may ever be skipped
        **limits,
    )


if KubernetesPodOperator is not None:

    class OptsweepPod(KubernetesPodOperator):
        """The program in a pod; final exit codes are not tried again."""

        def cleanup(self, pod, remote_pod, *args, **kwargs):
            try:
                return super().cleanup(pod, remote_pod, *args, **kwargs)
            except AirflowException as e:
                raise for_good(e, exit_code_of(remote_pod, self.base_container_name)) from e


def pod(task_id: str, args: list[str], **limits: object):
    """A pod as the chart makes it: the same volumes, user and restrictions."""
    from kubernetes.client import models as k8s

    return OptsweepPod(
        task_id=task_id,
        name=f"optsweep-{task_id}",
        namespace=NAMESPACE,
        image=IMAGE,
        arguments=args,
        env_vars={
            "OPTSWEEP_LOG_FORMAT": "json",
            "OPTSWEEP_PROGRESS": "none",
            "TMPDIR": "/var/lib/optsweep/tmp",
        },
        labels={
            "app.kubernetes.io/name": "optsweep",
            "app.kubernetes.io/instance": "optsweep",
            "app.kubernetes.io/component": "run",
        },
        service_account_name="optsweep",
        automount_service_account_token=False,
        # The pod of an earlier attempt that is still alive is taken up, not doubled.
        reattach_on_restart=True,
        on_finish_action="delete_succeeded_pod",
        termination_grace_period=120,
        skip_on_exit_code=[],  # no task here may ever be skipped
        get_logs=True,
        security_context={
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        container_security_context={
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": "500m", "memory": "1536Mi"}, limits={"memory": "2Gi"}
        ),
        volumes=[
            k8s.V1Volume(name="config", config_map=k8s.V1ConfigMapVolumeSource(name="optsweep")),
            k8s.V1Volume(
                name="workspace",
                persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name="optsweep-workspace"),
            ),
            k8s.V1Volume(name="euid", secret=k8s.V1SecretVolumeSource(secret_name="euid", default_mode=0o400)),
            k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource(size_limit="1Gi")),
        ],
        volume_mounts=[
            k8s.V1VolumeMount(name="config", mount_path="/etc/optsweep", read_only=True),
            k8s.V1VolumeMount(name="workspace", mount_path="/var/lib/optsweep"),
            k8s.V1VolumeMount(name="euid", mount_path="/var/run/optsweep/secrets/euid", read_only=True),
            k8s.V1VolumeMount(name="tmp", mount_path="/tmp"),
        ],
        **limits,
    )

def chain(make) -> None:
    """reconcile >> gate >> export, in the DAG that is being made."""
    reconcile = make("reconcile", RUN, **RUN_LIMITS)
    gate = make("gate", GATE, **GATE_LIMITS)
    # In the place of this goes whatever ships the audience. It runs only if the
    # gate has let it pass.
    export = BashOperator(task_id="export", bash_command="echo 'nothing is shipped yet' && exit 1", retries=0)
    reconcile >> gate >> export


with DAG(dag_id="optsweep_bash", **COMMON) as optsweep_bash:
    chain(bash)

if KubernetesPodOperator is not None:
    with DAG(dag_id="optsweep_kubernetes", **COMMON) as optsweep_kubernetes:
        chain(pod)
