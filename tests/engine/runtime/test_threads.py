"""The engine's own threads: what they compute and what they raise hangs on nothing but the items."""

import threading
from collections.abc import Iterator

import pytest

from pruning_engine.runtime.threads import get_threads, in_parallel, set_threads


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = get_threads()
    set_threads(4)
    yield
    set_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_results_come_in_the_order_of_the_items() -> None:
    assert in_parallel(lambda item: item * item, range(100)) == [item * item for item in range(100)]


@pytest.mark.usefixtures("four_threads")
def test_of_several_errors_the_first_items_is_raised() -> None:
    together = threading.Barrier(2)

    def fail(item: int) -> None:
        if item < 2:
            together.wait(10)
            raise ValueError(str(item))

    with pytest.raises(ValueError, match=r"^0$"):
        in_parallel(fail, range(8))


@pytest.mark.usefixtures("four_threads")
def test_the_number_of_threads_may_change_while_others_work() -> None:
    done: list[int] = []

    def work() -> None:
        done.extend(sum(in_parallel(lambda item: item, range(8))) for _ in range(50))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for count in (1, 3, 2, 5) * 20:
        set_threads(count)
    for worker in workers:
        worker.join()

    assert done == [28] * 150
