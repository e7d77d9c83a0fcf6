// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A Chainlink-style price feed that anybody can set, and break on purpose.
contract PriceFeed {
    enum Mode { Answering, Reverting, Zero, Negative }

    struct Round { int256 answer; uint256 updatedAt; }

    uint8 public immutable decimals;
    string public description;
    uint256 public constant version = 4;
    uint80 public latestRound;
    Mode public mode;
    mapping(uint80 => Round) private rounds;

    event AnswerUpdated(int256 indexed current, uint256 indexed roundId, uint256 updatedAt);
    event NewRound(uint256 indexed roundId, address indexed startedBy, uint256 startedAt);

    error FeedBroken();

    constructor(uint8 decimals_, string memory description_, int256 answer) {
        decimals = decimals_;
        description = description_;
        setAt(answer, block.timestamp);
    }

    function set(int256 answer) external { setAt(answer, block.timestamp); }

    function setAt(int256 answer, uint256 updatedAt) public {
        latestRound++;
        rounds[latestRound] = Round(answer, updatedAt);
        emit NewRound(latestRound, msg.sender, updatedAt);
        emit AnswerUpdated(answer, latestRound, updatedAt);
    }

    /// From now on answer as `mode_` says, without a new round: nothing on chain announces it.
    function setMode(Mode mode_) external { mode = mode_; }

    function latestAnswer() external view returns (int256) { return answerOf(latestRound); }

    function latestTimestamp() external view returns (uint256) { return rounds[latestRound].updatedAt; }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return getRoundData(latestRound);
    }

    function getRoundData(uint80 id) public view returns (uint80, int256, uint256, uint256, uint80) {
        require(rounds[id].updatedAt != 0, "No data present");
        return (id, answerOf(id), rounds[id].updatedAt, rounds[id].updatedAt, id);
    }

    function answerOf(uint80 id) private view returns (int256) {
        if (mode == Mode.Reverting) revert FeedBroken();
        if (mode == Mode.Zero) return 0;
        if (mode == Mode.Negative) return -1;
        return rounds[id].answer;
    }
}
