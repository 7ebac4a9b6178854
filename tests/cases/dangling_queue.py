"""A tensor is put into a process queue while an array of it is held: the queue moves its memory."""
import torch
import torch.multiprocessing as multiprocessing


def main():
    results = multiprocessing.get_context("fork").Queue()
    activations = torch.ones(4000)
    histogram = activations.numpy()  # expect: alias
    results.put(activations)  # expect: hazard type=dangling-alias
    received = results.get()
    print(received.sum().item(), histogram.shape)  # expect: read
    results.close()
    results.join_thread()


if __name__ == "__main__":
    main()
