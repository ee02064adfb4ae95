"""Loads the DAG file with the Airflow that is installed, and tries what its
tasks do with each exit code. Needs apache-airflow and its cncf.kubernetes
provider (requirements.txt); writes only into the AIRFLOW_HOME it makes."""

import os
import pathlib
import stat
import tempfile
import unittest
from types import SimpleNamespace
from unittest import mock

HOME = tempfile.TemporaryDirectory()
os.environ.update(
    AIRFLOW_HOME=HOME.name,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="True",
    AIRFLOW__LOGGING__LOGGING_LEVEL="CRITICAL",
)

import optsweep_dag as dags  # noqa: E402
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException  # noqa: E402

RUNBOOKS = pathlib.Path(__file__).resolve().parent.parent / "runbooks"
AGAIN = (1, 5, 130)
NEVER = (2, 3, 4, 6, 7)


class Structure(unittest.TestCase):
    def test_chain(self):
        for dag in (dags.optsweep_bash, dags.optsweep_kubernetes):
            with self.subTest(dag.dag_id):
                self.assertEqual({t.task_id for t in dag.tasks}, {"reconcile", "gate", "export"})
                self.assertEqual(dag.get_task("gate").upstream_task_ids, {"reconcile"})
                self.assertEqual(dag.get_task("export").upstream_task_ids, {"gate"})
                self.assertEqual(dag.max_active_runs, 1)
                self.assertFalse(dag.catchup)
                for task in dag.tasks:
                    self.assertEqual(getattr(task.trigger_rule, "value", task.trigger_rule), "all_success")
                for name in ("reconcile", "gate"):
                    self.assertGreater(dag.get_task(name).retries, 0)
                    self.assertIsNotNone(dag.get_task(name).execution_timeout)

    def test_runbooks_exist(self):
        for code in dags.FINAL:
            self.assertTrue((RUNBOOKS / f"exit-{code}.md").exists(), code)


class ExitCodes(unittest.TestCase):
    def test_bash(self):
        with tempfile.TemporaryDirectory() as bin_dir:
            program = pathlib.Path(bin_dir, "optsweep")
            program.write_text('#!/bin/sh\nexit "$CODE"\n')
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            for code in (0, *AGAIN, *NEVER):
                env = {"PATH": f"{bin_dir}:{os.environ['PATH']}", "CODE": str(code)}
                with self.subTest(code), mock.patch.dict(os.environ, env):
                    self.judge(code, lambda: dags.optsweep_bash.get_task("gate").execute({"ti": mock.MagicMock()}))

    def test_pod(self):
        for code in (0, *AGAIN, *NEVER):
            task = dags.optsweep_kubernetes.get_task("gate")
            state = SimpleNamespace(terminated=SimpleNamespace(exit_code=code, message=None))
            container = SimpleNamespace(name=task.base_container_name, state=state)
            pod = mock.MagicMock()
            pod.metadata.name = "p"
            pod.status.phase = "Succeeded" if code == 0 else "Failed"
            pod.status.container_statuses = [container]
            quiet = ("patch_already_checked", "process_pod_deletion", "_read_pod_container_states", "_read_pod_events", "is_istio_enabled")
            with self.subTest(code), mock.patch.multiple(type(task), **{n: mock.MagicMock(return_value=False) for n in quiet if hasattr(type(task), n)}):
                self.judge(code, lambda: task.cleanup(pod, pod))

    def judge(self, code, act):
        if code == 0:
            act()
            return
        with self.assertRaises(AirflowException) as caught:
            act()
        self.assertNotIsInstance(caught.exception, AirflowSkipException)
        self.assertEqual(isinstance(caught.exception, AirflowFailException), code in NEVER)


if __name__ == "__main__":
    unittest.main()
