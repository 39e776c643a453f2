"""A Kubeflow component that prunes a checkpoint, and a pipeline with this component. `python kubeflow.py` compiles it.

It writes kubeflow.yaml. Compiling needs kfp and kfp-kubernetes (tested with 2.17.0), but not this project. The image is
the target `client` of the Dockerfile. The step reads its certificate from the Secret `pruning-client-tls`.
"""

from pathlib import Path

from kfp import compiler, dsl, kubernetes

IMAGE = "pruning-service:0.2.0-client"
TLS = "/tls"


@dsl.container_component
def prune(
    model: dsl.Input[dsl.Model],
    pruned: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.Artifact],
    server: str,
    sparsity: float = 0.5,
):
    """Set the smallest weights of a safetensors checkpoint to zero, up to a `sparsity`, and write a report."""
    # Not --amount: Kubeflow writes 1.0 as 1, and an amount of 1 is one weight.
    rule = ["--method", "l1_unstructured", "--global", "--sparsity", sparsity]
    files = [model.path, "-o", pruned.path, "--report", report.path]
    tls = ["--tls-ca", f"{TLS}/ca.crt", "--tls-cert", f"{TLS}/tls.crt", "--tls-key", f"{TLS}/tls.key"]
    return dsl.ContainerSpec(image=IMAGE, command=["prune", "run"], args=[*files, *rule, "--server", server, *tls])


@dsl.pipeline(name="prune", description="Prune a checkpoint (safetensors) of an object store.")
def pipeline(uri: str, sparsity: float = 0.5, server: str = "pruning-service.pruning.svc:50051"):
    """Import a model by its URI, such as s3://models/model.safetensors, and prune it."""
    model = dsl.importer(artifact_uri=uri, artifact_class=dsl.Model)
    task = prune(model=model.output, server=server, sparsity=sparsity).set_retry(2, backoff_duration="30s")
    kubernetes.use_secret_as_volume(task, "pruning-client-tls", TLS)
    kubernetes.add_pod_label(task, "pruning-service/client", "true")  # admitted by the server's NetworkPolicy


if __name__ == "__main__":
    compiler.Compiler().compile(pipeline, str(Path(__file__).with_suffix(".yaml")))
