project  = "my-project"
region   = "europe-west1"
image    = "europe-west1-docker.pkg.dev/my-project/tools/optsweep@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
job_file = "job.example.yaml"
network  = { network = "default", subnetwork = "default" }

# An NFS server that you have; leave it out to have a Filestore instance made.
nfs = { server = "10.0.0.5", path = "/exports/optsweep" }

tables = [
  { project = "my-project", dataset = "ads", table = "audience", mode = "suppression" },
  { project = "my-project", dataset = "crm", table = "people", mode = "column" },
]
